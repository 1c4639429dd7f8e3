//! What concerns this backend alone: the writer, the lock, a full disk, a locked file.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::{ConnectOptions, Row};
use tempfile::TempDir;

use super::*;

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

async fn insert(store: &SqliteStore, node: String) -> Result<(), StoreError> {
    store
        .write(move |connection| {
            Box::pin(async move {
                let insert = "INSERT INTO in_flight VALUES (?, x'00', 1, 1)";
                sqlx::query(insert).bind(node).execute(connection).await.map(drop)
            })
        })
        .await
}

async fn count(store: &SqliteStore) -> i64 {
    let count = store.read(|connection| {
        Box::pin(async move {
            sqlx::query("SELECT count(*) FROM in_flight").fetch_one(connection).await?.try_get(0)
        })
    });
    count.await.expect("a count")
}

#[tokio::test]
async fn a_directory_is_private_and_open_only_once() {
    use std::os::unix::fs::PermissionsExt;
    let parent = directory();
    let path = parent.path().join("data");
    let store = SqliteStore::open(&path).await.expect("opens");
    assert_eq!(std::fs::metadata(&path).expect("is there").permissions().mode() & 0o777, 0o700);
    assert!(matches!(SqliteStore::open(&path).await, Err(StoreError::Unavailable(_))));
    insert(&store, "a".into()).await.expect("written");
    drop(store);
    let store = SqliteStore::open(&path).await.expect("opens again");
    assert_eq!(count(&store).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_takes_nothing_else_with_it() {
    let directory = directory();
    let store = Arc::new(SqliteStore::open(directory.path()).await.expect("opens"));
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..100 {
        let store = Arc::clone(&store);
        // Every fourth one repeats another's key.
        tasks.spawn(async move { insert(&store, format!("{}", if i % 4 == 3 { i - 1 } else { i })).await });
    }
    let results = tasks.join_all().await;
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 75);
    assert!(results.iter().flat_map(|r| r.as_ref().err()).all(|e| matches!(e, StoreError::Internal(_))));
    assert_eq!(count(&store).await, 75);
}

#[tokio::test]
async fn a_full_disk_and_a_locked_file_are_survived() {
    let directory = directory();
    let store = SqliteStore::open(directory.path()).await.expect("opens");
    let set = |pages: i64| {
        store.write(move |connection| {
            Box::pin(async move {
                let pragma = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
                sqlx::query(pragma).fetch_one(connection).await.map(drop)
            })
        })
    };
    set(1).await.expect("SQLite takes the size that it has for the bound");
    let full = loop {
        let node = format!("{}{}", uuid::Uuid::now_v7(), "x".repeat(4_000));
        if let Err(error) = insert(&store, node).await {
            break error;
        }
    };
    assert!(matches!(full, StoreError::Unavailable(_)), "{full:?}");
    set(1_000_000).await.expect("room again");
    insert(&store, "after the full disk".into()).await.expect("written");

    let before = count(&store).await;
    let mut other = options(&directory.path().join("fairhook.db")).connect().await.expect("opens");
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.expect("locked");
    let locked = insert(&store, "while locked".into()).await.expect_err("refused");
    assert!(matches!(locked, StoreError::Unavailable(_)), "{locked:?}");
    assert_eq!(count(&store).await, before, "reading goes on");
    sqlx::query("ROLLBACK").execute(&mut other).await.expect("unlocked");
    insert(&store, "after the lock".into()).await.expect("written");
    assert_eq!(count(&store).await, before + 1);
}

/// SQLite obeys the pragma when it compiles it: kept prepared it would do nothing from the second time on.
#[tokio::test]
async fn outcomes_alone_are_not_synced_and_everything_else_is() {
    let directory = directory();
    let store = SqliteStore::open(directory.path()).await.expect("opens");
    let level = |class| {
        store.writer.write(class, |connection| {
            Box::pin(async move {
                let level = sqlx::query("PRAGMA synchronous").persistent(false).fetch_one(connection).await?;
                level.try_get::<i64, _>(0)
            })
        })
    };
    let (normal, full) = (1, 2);
    let mut unsynced = 0;
    for _ in 0..200 {
        assert_eq!(level(Class::Admit).await.expect("written"), full);
        // Now and then outcomes are synced as well.
        unsynced += usize::from(level(Class::Outcome).await.expect("written") == normal);
        assert_eq!(level(Class::Control).await.expect("written"), full);
    }
    assert!(unsynced > 1, "{unsynced}");
}

/// Whoever posts waits for one short job at most, however many are waiting; and these get on, however many post.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_few_admissions_wait_for_one_job_and_leave_time_for_the_others() {
    let directory = directory();
    let store = Arc::new(SqliteStore::open(directory.path()).await.expect("opens"));
    let ran = Arc::new(AtomicU64::new(0));
    let mut others = tokio::task::JoinSet::new();
    for _ in 0..limits::OUTCOMES_BEHIND / 2 {
        let (store, ran) = (Arc::clone(&store), Arc::clone(&ran));
        others.spawn(async move {
            loop {
                let ran = Arc::clone(&ran);
                let job = store.writer.write(Class::Outcome, move |c| {
                    ran.fetch_add(1, Ordering::SeqCst);
                    Box::pin(async move { sqlx::query("SELECT 1").execute(c).await.map(drop) })
                });
                job.await.expect("written");
            }
        });
    }
    let mut most = 0;
    for _ in 0..200 {
        let (before, seen) = (ran.load(Ordering::SeqCst), Arc::clone(&ran));
        let admission = store.writer.admit(1, move |_| {
            let waited_for = seen.load(Ordering::SeqCst) - before;
            Box::pin(async move { Ok(waited_for) })
        });
        most = most.max(admission.await.expect("written"));
    }
    // One that was about to start as this one was handed in, and one in whose turn it came.
    assert!(most <= 2, "{most}");
    let done = ran.load(Ordering::SeqCst);
    let posting = async {
        loop {
            store.writer.admit(1, |_| Box::pin(async { Ok(()) })).await.expect("written");
        }
    };
    let others = async {
        while ran.load(Ordering::SeqCst) < done + 20 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = posting => {}
        () = others => {}
    }
}

#[tokio::test]
async fn a_read_that_takes_too_long_ends() {
    let directory = directory();
    let store = SqliteStore::open(directory.path()).await.expect("opens");
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
    let quick = Readers::new(
        options(&directory.path().join("fairhook.db")),
        1,
        Duration::from_millis(30),
        &checkpoint::Gate::default(),
    );
    let slow = quick.read(|connection| {
        Box::pin(async move { sqlx::query(endless).fetch_one(connection).await.map(drop) })
    });
    assert!(matches!(slow.await, Err(StoreError::TooSlow)));
    let next = quick.read(|connection| {
        Box::pin(async move { sqlx::query("SELECT 1").fetch_one(connection).await.map(drop) })
    });
    next.await.expect("the connection is fine");
    assert_eq!(count(&store).await, 0);
}

/// Rows are found by their keys in whatever number they come: a scan would make every batch as slow as the table is long.
#[tokio::test]
async fn batches_find_their_rows_by_key() {
    let directory = directory();
    let store = SqliteStore::open(directory.path()).await.expect("opens");
    let statements = [
        "DELETE FROM schedule WHERE (event, ordinal) IN (VALUES {})",
        "UPDATE deliveries SET state = 'queued' WHERE (event, ordinal) IN (VALUES {}) AND state IN ('scheduled', 'queued')",
        "WITH new (event, ordinal) AS (VALUES {}) UPDATE deliveries SET state = 'dead' FROM new \
         WHERE deliveries.event = +new.event AND deliveries.ordinal = +new.ordinal",
    ];
    for statement in statements {
        for rows in [1, 2, 512] {
            let explain =
                format!("EXPLAIN QUERY PLAN {}", statement.replace("{}", &vec!["(?,?)"; rows].join(",")));
            let plan = store.read(move |connection| {
                Box::pin(async move { sqlx::query(sqlx::AssertSqlSafe(explain)).fetch_all(connection).await })
            });
            let plan = plan.await.expect("a plan");
            let plan: Vec<String> = plan.iter().map(|row| row.get(3)).collect();
            assert!(
                plan.iter().any(|step| step.contains("USING PRIMARY KEY (event=? AND ordinal=?)")),
                "{plan:?}"
            );
        }
    }
}

/// A job of the store's that panics is refused, alone; the writer goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_panics_takes_nothing_else_with_it() {
    let directory = directory();
    let store = Arc::new(SqliteStore::open(directory.path()).await.expect("opens"));
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..40 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let written = store.write(move |connection| {
                Box::pin(async move {
                    let insert = "INSERT INTO in_flight VALUES (?, x'00', 1, 1)";
                    sqlx::query(insert).bind(format!("{i}")).execute(connection).await?;
                    assert!(i % 4 != 3, "a mistake of ours, in the middle of a job");
                    Ok(())
                })
            });
            written.await
        });
    }
    let results = tasks.join_all().await;
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 30);
    assert!(results.iter().flat_map(|r| r.as_ref().err()).all(|e| matches!(e, StoreError::Internal(_))));
    assert_eq!(count(&store).await, 30, "what a job wrote before it panicked is taken back");
    insert(&store, "afterwards".into()).await.expect("the writer lives");
}

/// Each wait for a locked file is long: those who wait meanwhile are told with the first, not one after the other.
/// And the log is told once, and once of the end.
#[tokio::test]
async fn a_locked_file_is_waited_for_once_for_all() {
    let (heard, told) = told();
    // While there is one listener only, `tracing` asks the thread that comes by an event first, which may be another
    // test's without one, and keeps its answer.
    let _another = tracing::Dispatch::new(Heard(Arc::default()));
    let _heard = tracing::subscriber::set_default(heard);
    let directory = directory();
    let store = Arc::new(SqliteStore::open(directory.path()).await.expect("opens"));
    let mut other = options(&directory.path().join("fairhook.db")).connect().await.expect("opens");
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.expect("locked");
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..20 {
        let store = Arc::clone(&store);
        tasks.spawn(async move { insert(&store, format!("{i}")).await });
    }
    let results = tasks.join_all().await;
    assert!(results.iter().all(|r| matches!(r, Err(StoreError::Unavailable(_)))), "{results:?}");
    let waited = started.elapsed();
    assert!(waited < limits::STORE_BUSY * 4, "{waited:?} for twenty");
    assert_eq!(insert(&store, "still".into()).await.ok(), None);
    assert_eq!(*locked(&told), ["the store cannot be written; its return will be told"]);
    sqlx::query("ROLLBACK").execute(&mut other).await.expect("unlocked");
    while locked(&told).len() < 2 {
        assert!(started.elapsed() < Duration::from_secs(20), "the end is told");
        insert(&store, uuid::Uuid::now_v7().to_string()).await.expect("written");
    }
    assert_eq!(locked(&told)[1], "the store can be written again");
}

/// Listens to the log from WARN on.
struct Heard(Arc<Mutex<Vec<String>>>);

fn told() -> (Heard, Arc<Mutex<Vec<String>>>) {
    let told = Arc::default();
    (Heard(Arc::clone(&told)), told)
}

impl tracing::Subscriber for Heard {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            if field.name() == "message" {
                locked(&self.0).push(format!("{value:?}"));
            }
        });
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// A tenant that asks for many long lists keeps nobody else from reading, and nothing from being let in.
#[tokio::test]
async fn one_tenants_long_reads_hold_up_nobody_else() {
    let directory = directory();
    let store = Arc::new(SqliteStore::open(directory.path()).await.expect("opens"));
    let (greedy, quiet) = (TenantId::generate(), TenantId::generate());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 * limits::API_READERS {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let endless =
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
            let read = store.read_of(greedy, move |connection| {
                Box::pin(async move { sqlx::query(endless).fetch_one(connection).await.map(drop) })
            });
            read.await
        });
    }
    tokio::task::yield_now().await;
    let started = Instant::now();
    use crate::store::{Browse, Control};
    store.find_key(crate::ids::KeyId::generate()).await.expect("keys are looked up");
    store.find_job(Some(quiet), crate::ids::JobId::generate()).await.expect("another tenant reads");
    assert!(started.elapsed() < limits::READ_DEADLINE / 2, "{:?}", started.elapsed());
    tasks.abort_all();
}

/// The kill switch, a key's end and another tenant's changes do not wait behind a flood of changes of one tenant.
#[tokio::test]
async fn one_tenants_flood_of_changes_delays_nobody_elses() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let directory = directory();
    let store = Arc::new(SqliteStore::open(directory.path()).await.expect("opens"));
    let (greedy, done) = (TenantId::generate(), Arc::new(AtomicUsize::new(0)));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let (store, done) = (Arc::clone(&store), Arc::clone(&done));
        tasks.spawn(async move {
            let change = store.write_of(greedy, move |_| {
                done.fetch_add(1, Ordering::Relaxed);
                Box::pin(async { Ok(()) })
            });
            change.await
        });
    }
    tokio::task::yield_now().await;
    insert(&store, "the kill switch".into()).await.expect("written");
    let before = done.load(Ordering::Relaxed);
    assert!(before < 5, "{before} changes of another's came first");
    assert!(tasks.join_all().await.iter().all(Result::is_ok), "each has its turn");
}

#[tokio::test]
async fn a_change_whose_caller_has_left_is_told_too() {
    let directory = directory();
    let store = Arc::new(SqliteStore::open(directory.path()).await.expect("opens"));
    let mut changes = store.subscribe();
    let (begin, begun) = tokio::sync::oneshot::channel();
    let (go_on, goes_on) = tokio::sync::oneshot::channel();
    let caller = tokio::spawn(async move {
        let changed = store.change(
            move |_| {
                Box::pin(async move {
                    begin.send(()).expect("the test waits");
                    goes_on.await.expect("the test says so");
                    Ok(Ok(()))
                })
            },
            |()| vec![Change::OperatorKeys],
        );
        changed.await
    });
    begun.await.expect("it runs");
    caller.abort();
    assert!(caller.await.is_err_and(|error| error.is_cancelled()));
    go_on.send(()).expect("it goes on");
    assert_eq!(changes.recv().await, Ok(Change::OperatorKeys));
}
