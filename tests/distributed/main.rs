//! The distributed engine under faults: real `fairhook-ingest` and `fairhook-dispatcher` processes on a database and a
//! virtual host of their own, proxies between them and their servers that can be cut, receivers that count, and at the end
//! the proof that every accepted delivery is accounted for. The servers belong to this binary alone (`tests/services.sh`).

// Not all of it is needed here.
#[allow(dead_code, unused_imports)]
#[path = "../black_box/harness/mod.rs"]
mod black_box;
mod harness;

// The tests' names begin with this word, by which `make test-embedded` leaves them out.
#[path = "."]
mod distributed {
    mod bench;
    mod broker;
    mod cap;
    mod chaos;
    mod cut_off;
    mod kill_switch;
    mod killed;
    mod limits;
    mod rolling;
    mod seen;
    mod store;
    mod tls;
}
