use prometheus::Registry;
use tempfile::TempDir;

use super::*;
use crate::store::sqlite::SqliteStore;

const DISPATCHER: Roles = Roles { ingest: false, dispatcher: true };

struct Process {
    members: Members,
    tasks: JoinSet<()>,
    shutdown: Shutdown,
}

fn process(store: &SharedStore, name: &str) -> Process {
    let (mut tasks, shutdown) = (JoinSet::new(), Shutdown::new());
    let families = Families::new(Registry::new());
    let members = start(store.clone(), Node::new(name, DISPATCHER), &families, &mut tasks, &shutdown);
    Process { members, tasks, shutdown }
}

impl Process {
    async fn until(&self, what: &str, check: impl Fn(&Membership) -> bool) {
        let mut view = self.members.view();
        let seen = view.wait_for(|view| view.as_ref().is_some_and(|view| check(&view.membership)));
        timeout(Duration::from_secs(20), seen).await.expect(what).expect("it beats");
    }
}

fn states(membership: &Membership) -> Vec<Standing> {
    membership.members.iter().map(|member| member.state).collect()
}

#[tokio::test]
async fn processes_see_each_other_come_and_go() {
    let dir = TempDir::new().expect("a directory");
    let store: SharedStore = Arc::new(SqliteStore::open(dir.path()).await.expect("a store"));
    let (a, mut b) = (process(&store, "a"), process(&store, "b"));
    a.until("both are there", |seen| states(seen) == [Standing::Live; 2]).await;
    let stay = b.members.stay();
    b.shutdown.drain();
    a.until("one leaves", |seen| states(seen).contains(&Standing::Leaving)).await;
    drop(stay);
    a.until("one is gone", |seen| states(seen) == [Standing::Live]).await;
    assert!(b.tasks.join_next().await.expect("its task").is_ok());
    assert!(b.members.stay()._until_dropped.is_none(), "nobody waits for it any more");
}

#[tokio::test]
async fn what_is_said_is_told_before_the_next_beat() {
    let dir = TempDir::new().expect("a directory");
    let store: SharedStore = Arc::new(SqliteStore::open(dir.path()).await.expect("a store"));
    let a = process(&store, "a");
    a.until("it is there", |seen| seen.version == 1).await;
    let told = Instant::now();
    a.members.say(Said { applied: 1, behind: Vec::new(), admitted: true });
    a.until("it is known", |seen| seen.members[0].applied == 1 && seen.members[0].admitted).await;
    assert!(told.elapsed() < limits::HEARTBEAT, "took {:?}", told.elapsed());
    assert_eq!(a.members.clock(), Ok(()));
}

#[test]
fn a_clock_that_is_far_off_is_told() {
    let (stay, _stays) = mpsc::channel(1);
    let shared = Arc::new(Shared {
        node: Node::new("a", DISPATCHER),
        said: Mutex::default(),
        news: Notify::new(),
        skew_ms: AtomicI64::new(0),
        stays: stay.downgrade(),
    });
    let members = Members { shared, view: watch::channel(None).1 };
    let told = |ms| {
        members.shared.skew_ms.store(ms, Ordering::Relaxed);
        members.clock()
    };
    assert_eq!(told(5_000), Ok(()));
    assert_eq!(told(-5_001), Err("this machine's clock is 5 s ahead of the store's".into()));
    assert_eq!(told(7_200_000), Err("this machine's clock is 7200 s behind the store's".into()));
}
