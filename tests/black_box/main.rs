//! Black-box tests: they start the real binary on free ports in temporary directories, speak to it over HTTP only, and end
//! it by its process id.

mod harness;

mod alerts;
mod cloudevents;
mod command_line;
mod conditions;
mod dead_letters;
mod deployment;
mod disk_full;
mod isolation;
mod kill_switch;
mod limits;
mod operations;
mod refusals;
mod restarts;
mod signatures;
mod sources;
mod stopping;
mod transcript;
