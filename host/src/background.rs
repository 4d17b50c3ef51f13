//! Runs tasks beside the requests. Each task has a name, and none of them may end unnoticed. Knows nothing of their
//! work.

use std::collections::HashMap;

use tokio::task::{Id, JoinSet};

/// Tasks that run as long as this value lives.
#[derive(Default)]
pub struct Background {
    tasks: JoinSet<()>,
    names: HashMap<Id, String>,
}

/// A background task ended, which must not happen.
#[derive(Debug, thiserror::Error)]
#[error(
    "{name} has stopped, which only a bug can do; start the program again, and report it with the log around this line"
)]
pub struct Ended {
    name: String,
}

impl Background {
    /// Starts a task. Its name describes it and fits into a sentence: `relaying events`.
    pub fn start(&mut self, name: impl Into<String>, task: impl Future<Output = ()> + Send + 'static) {
        let id = self.tasks.spawn(task).id();
        self.names.insert(id, name.into());
    }

    /// Waits until every task has ended.
    pub async fn finished(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    /// Aborts every task, and waits until each has released its resources.
    pub async fn abort(&mut self) {
        self.tasks.shutdown().await;
    }

    /// Resolves when any task finishes or panics, and never without tasks. The panic message is left out because it may
    /// contain patient data.
    pub async fn ended(&mut self) -> Ended {
        let Some(ended) = self.tasks.join_next_with_id().await else { return std::future::pending().await };
        let id = ended.map_or_else(|panic| panic.id(), |(id, ())| id);
        Ended { name: self.names.remove(&id).unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_or_panics_is_noticed_by_its_name() {
        let mut background = Background::default();
        background.start("following the registry", std::future::pending());
        background.start("relaying events", async { panic!("with a patient's name") });
        let ended = background.ended().await.to_string();
        assert!(ended.starts_with("relaying events has stopped") && !ended.contains("patient"), "{ended}");
        background.start("rebuilding", async {});
        assert!(background.ended().await.to_string().starts_with("rebuilding has stopped"));
    }

    #[tokio::test]
    async fn nothing_to_do_is_not_an_end() {
        let mut background = Background::default();
        let waited = tokio::time::timeout(std::time::Duration::from_millis(20), background.ended()).await;
        assert!(waited.is_err());
    }
}
