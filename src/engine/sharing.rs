//! With whom this process's ingest shares the limits on events per second.

use fairhook_common::config::Config;
use fairhook_common::membership::{Members, View};
use fairhook_common::shutdown::Shutdown;
use fairhook_common::store::Standing;
use fairhook_ingest::{RedisAddress, Sharing};
use tokio::sync::watch;

use super::{StartError, Tasks};

/// The ingests that there are, and Redis if it is configured. An embedded engine has neither: it is the only one.
pub fn of(config: &Config, members: &Members, tasks: &mut Tasks) -> Result<Sharing, StartError> {
    if !config.is_distributed() {
        return Ok(Sharing::alone());
    }
    let redis = config.redis_url.as_ref().map(|url| RedisAddress::parse(url.reveal())).transpose()?;
    let (count, ingests) = watch::channel(1);
    tasks.1.spawn(follow(members.view(), count, tasks.0.clone()));
    Ok(Sharing { ingests, redis })
}

/// Tells how many ingests live, whenever the membership changes.
async fn follow(mut view: watch::Receiver<Option<View>>, count: watch::Sender<usize>, shutdown: Shutdown) {
    loop {
        let ingests = view.borrow_and_update().as_ref().map_or(1, ingests_of);
        count.send_if_modified(|known| std::mem::replace(known, ingests) != ingests);
        tokio::select! {
            changed = view.changed() => if changed.is_err() { return shutdown.draining().await },
            () = shutdown.draining() => return,
        }
    }
}

/// One that is leaving answers what it has begun and takes nothing new: its share is the others'.
fn ingests_of(view: &View) -> usize {
    let members = view.membership.members.iter();
    members.filter(|member| member.roles.ingest && member.state == Standing::Live).count().max(1)
}
