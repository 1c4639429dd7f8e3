//! Plots as SVG: panels side by side, with axes, areas and lines, and a legend below. No more than the plots of the
//! simulation need.

use std::fmt::Write;

/// Colours that differ for the colour-blind as well (Okabe and Ito, <https://jfly.uni-koeln.de/color/>).
pub const BLUE: &str = "#0072b2";
pub const SKY: &str = "#56b4e9";
pub const GREEN: &str = "#009e73";
pub const RED: &str = "#d55e00";

/// A whole picture.
pub struct Plot {
    pub title: &'static str,
    pub panels: Vec<Panel>,
    /// Colours with what they stand for.
    pub legend: Vec<(&'static str, &'static str)>,
}

/// A pair of axes with what is drawn in it.
pub struct Panel {
    pub title: &'static str,
    pub x: Axis,
    pub y: Axis,
    pub marks: Vec<Mark>,
}

pub struct Axis {
    pub label: &'static str,
    pub ticks: Vec<(f64, String)>,
    pub from: f64,
    pub to: f64,
}

pub enum Mark {
    /// Points x, lower and upper edge.
    Area(&'static str, Vec<(f64, f64, f64)>),
    Line(&'static str, Vec<(f64, f64)>),
    /// A dashed line across the panel.
    Level(f64),
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 76.0;

impl Axis {
    /// Even ticks from 0 on.
    pub fn even(label: &'static str, to: f64, step: f64) -> Self {
        let count = (to / step).round() as usize;
        let ticks = (0..=count).map(|n| n as f64 * step);
        Self { label, ticks: ticks.map(|tick| (tick, format!("{tick}"))).collect(), from: 0.0, to }
    }

    /// Where a value is, from 0 to 1.
    fn part(&self, value: f64) -> f64 {
        ((value - self.from) / (self.to - self.from)).clamp(0.0, 1.0)
    }
}

/// Where a panel is.
struct Frame<'a> {
    panel: &'a Panel,
    left: f64,
    width: f64,
}

impl Frame<'_> {
    fn x(&self, value: f64) -> f64 {
        self.left + self.panel.x.part(value) * self.width
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.panel.y.part(value) * (HEIGHT - TOP - BOTTOM)
    }

    fn path(&self, points: impl Iterator<Item = (f64, f64)>) -> String {
        let points = points.map(|(x, y)| format!("{:.1},{:.1}", self.x(x), self.y(y)));
        points.collect::<Vec<_>>().join(" ")
    }

    fn mark(&self, mark: &Mark) -> String {
        match mark {
            Mark::Area(colour, points) => {
                let upper = points.iter().map(|&(x, _, upper)| (x, upper));
                let lower = points.iter().rev().map(|&(x, lower, _)| (x, lower));
                format!("<polygon fill=\"{colour}\" points=\"{}\"/>", self.path(upper.chain(lower)))
            }
            Mark::Line(colour, points) => format!(
                "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>",
                self.path(points.iter().copied())
            ),
            Mark::Level(y) => {
                let ends = [(self.panel.x.from, *y), (self.panel.x.to, *y)];
                let path = self.path(ends.into_iter());
                format!(
                    "<polyline fill=\"none\" stroke=\"#444\" stroke-dasharray=\"4 3\" points=\"{path}\"/>"
                )
            }
        }
    }

    fn draw(&self, out: &mut String) {
        let (panel, bottom, right) = (self.panel, HEIGHT - BOTTOM, self.left + self.width);
        line(out, &text(self.left + self.width / 2.0, TOP - 10.0, "middle", panel.title));
        for mark in &panel.marks {
            line(out, &self.mark(mark));
        }
        for (value, label) in &panel.x.ticks {
            let x = self.x(*value);
            line(out, &rule(x, bottom, x, bottom + 4.0));
            line(out, &text(x, bottom + 17.0, "middle", label));
        }
        for (value, label) in &panel.y.ticks {
            let y = self.y(*value);
            line(out, &rule(self.left - 4.0, y, self.left, y));
            line(out, &text(self.left - 7.0, y + 4.0, "end", label));
        }
        line(out, &rule(self.left, bottom, right, bottom));
        line(out, &rule(self.left, TOP, self.left, bottom));
        line(out, &text(self.left + self.width / 2.0, bottom + 34.0, "middle", panel.x.label));
        line(out, &text(self.left - 44.0, TOP - 10.0, "start", panel.y.label));
    }
}

impl Plot {
    /// The picture as the text of a file.
    pub fn svg(&self) -> String {
        let mut out = String::new();
        line(
            &mut out,
            &format!(
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
                 font-family=\"sans-serif\" font-size=\"12\" role=\"img\">"
            ),
        );
        line(&mut out, &format!("<title>{}</title>", self.title));
        line(&mut out, "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>");
        line(
            &mut out,
            &format!("<g font-weight=\"bold\">{}</g>", text(WIDTH / 2.0, 20.0, "middle", self.title)),
        );
        let each = WIDTH / self.panels.len() as f64;
        for (n, panel) in self.panels.iter().enumerate() {
            let frame = Frame { panel, left: each * n as f64 + LEFT, width: each - LEFT - RIGHT };
            frame.draw(&mut out);
        }
        let between = (WIDTH - LEFT) / self.legend.len().max(1) as f64;
        for (n, (colour, label)) in self.legend.iter().enumerate() {
            let (x, y) = (LEFT + between * n as f64, HEIGHT - 24.0);
            line(
                &mut out,
                &format!("<rect x=\"{x:.1}\" y=\"{y}\" width=\"12\" height=\"12\" fill=\"{colour}\"/>"),
            );
            line(&mut out, &text(x + 17.0, y + 10.0, "start", label));
        }
        line(&mut out, "</svg>");
        out
    }
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("a string takes all");
}

fn text(x: f64, y: f64, anchor: &str, text: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>")
}

fn rule(x1: f64, y1: f64, x2: f64, y2: f64) -> String {
    format!("<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"#444\"/>")
}
