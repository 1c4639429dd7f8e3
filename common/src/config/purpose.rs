//! What a process is for, and what its configuration has to say for that.

use super::{ConfigError, Effective};

/// What a process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Every role in one process.
    Serve,
    /// The API and admission.
    Ingest,
    /// Deliveries.
    Dispatcher,
    /// The store's schema, and nothing else.
    Migrate,
}

impl Purpose {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Serve, Self::Ingest, Self::Dispatcher, Self::Migrate];

    /// The command of that name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Ingest => "ingest",
            Self::Dispatcher => "dispatcher",
            Self::Migrate => "migrate",
        }
    }

    /// Whether it answers the API.
    pub fn has_api(self) -> bool {
        matches!(self, Self::Serve | Self::Ingest)
    }

    /// Whether it delivers.
    pub fn delivers(self) -> bool {
        matches!(self, Self::Serve | Self::Dispatcher)
    }

    /// Whether it is one of several processes by its nature.
    fn is_one_role(self) -> bool {
        matches!(self, Self::Ingest | Self::Dispatcher)
    }
}

impl Effective {
    /// Refuses what does not do for `purpose`.
    pub fn check_for(&self, purpose: Purpose) -> Result<(), ConfigError> {
        let config = &self.config;
        let name = purpose.name();
        if purpose.is_one_role() && !config.is_distributed() {
            return Err(self.refuse(
                "store_url",
                format!(
                    "`{name}` shares its store and queue with other processes; set store_url to postgres://… and queue_url to amqp://…, or run `serve`"
                ),
            ));
        }
        if purpose.is_one_role() && config.receiver_listen.is_some() {
            let problem =
                format!("only `serve` has the built-in receiver, `{name}` has none; leave it out or say off");
            return Err(self.refuse("receiver_listen", problem));
        }
        if purpose.has_api() && config.is_distributed() && config.operator_key.is_none() {
            return Err(self.refuse(
                "operator_key",
                "is needed on Postgres, where every process has to take the same one; set FAIRHOOK_OPERATOR_KEY or FAIRHOOK_OPERATOR_KEY_FILE",
            ));
        }
        Ok(())
    }
}
