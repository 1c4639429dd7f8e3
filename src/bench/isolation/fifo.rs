//! The same load through one FIFO queue over one worker pool, with as many workers as the engine has slots: what is to be
//! compared with.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::Settings;
use super::background::Background;
use super::kind::{Act, Kind, Step};
use super::pace;
use super::pair::{Arm, heads, receivers};
use super::premises::Premises;
use super::scale::Scale;
use crate::bench::BenchError;
use crate::workload::{Fifo, FifoTarget, Ledger, Pace, Tally, Target, drive};

/// The good tenants beside the bad ones; `None` if the kind is one that a queue alone does not know of.
pub async fn measure(kind: &'static Kind, settings: &Settings) -> Result<Option<Tally>, BenchError> {
    if !kind.fits_fifo() {
        return Ok(None);
    }
    let (scale, (good, bad)) = (settings.scale(), heads(kind, settings));
    let ledger = Arc::new(Ledger::new(good));
    let receivers = receivers(good, ledger.clone()).await?;
    let background = Background::start()?;
    let premises = Premises::build(kind.host, receivers.url(good), &background).await?;
    let of_good = (0..good).map(|n| vec![receivers.url(n)]);
    let of_bad = (0..bad)
        .map(|n| (0..scale.part_of(kind.endpoints)).map(|endpoint| premises.url(n, endpoint)).collect());
    let fifo = Fifo::start(settings.slots).map_err(std::io::Error::other)?;
    let target = Arc::new(fifo.target(of_good.chain(of_bad).collect()));
    let arm = Arm { target: target.clone(), ledger, good, rate: settings.rate };
    arm.run(settings.warm_up(), pace::DRAIN).await;
    let bad: Vec<usize> = (good..good + bad).collect();
    fill(kind, &target, &bad, scale).await;
    let mut noise = JoinSet::new();
    for act in kind.beside {
        if let Act::Post { per_second, bytes } = *act {
            let (posts, rate) =
                (Ledger::new(good + bad.len()), f64::from(scale.part(per_second)) * bad.len() as f64);
            let load =
                drive(target.clone(), Arc::new(posts), bad.clone(), Pace::Open(rate), pace::FOR_EVER, bytes);
            noise.spawn_on(load, background.handle());
        }
    }
    // What has not arrived by the end of the load counts with its age.
    Ok(Some(arm.run(settings.span, Duration::ZERO).await))
}

async fn fill(kind: &Kind, target: &FifoTarget, bad: &[usize], scale: Scale) {
    for step in kind.before {
        if let Step::Fill(events) = step {
            for event in 0..bad.len() * scale.pile(*events) {
                target.post(bad[event % bad.len()], "{}".to_owned()).await;
            }
        }
    }
}
