//! Derives the number of connections from the limit of open files. Every connection is a file, and the usual limit is
//! 1,024 of them: clients that only connect would take those that the ledger and the mail need.

/// Maximum number of connections, whatever the limit of open files.
const MAX_CONNECTIONS: u64 = 4096;

/// Limit to request from the system if it allows more than it gives. A much larger one would only slow down programs
/// that close every file they might have.
const WANTED: u64 = 1 << 16;

/// Limit of the open files of this process.
#[derive(Clone, Copy, Debug)]
pub struct OpenFiles {
    limit: u64,
}

impl OpenFiles {
    /// Raises the limit as far as the system allows.
    pub fn raise() -> Self {
        let limit = rlimit::increase_nofile_limit(WANTED)
            .or_else(|_| rlimit::getrlimit(rlimit::Resource::NOFILE).map(|(soft, _)| soft));
        Self { limit: limit.unwrap_or(1024) }
    }

    /// Returns the number of connections beside `reserved` other files: the rest of the limit, at least a quarter of
    /// it, at most 4,096.
    pub fn connections(self, reserved: u64) -> usize {
        let rest = self.limit.saturating_sub(reserved).max(self.limit / 4);
        usize::try_from(rest.min(MAX_CONNECTIONS)).unwrap_or(usize::MAX)
    }

    /// Logs the number of connections, and how to raise it if it is low.
    pub fn log(self, reserved: u64) {
        let connections = self.connections(reserved);
        let Self { limit: open_files } = self;
        if u64::try_from(connections).is_ok_and(|connections| connections < MAX_CONNECTIONS) {
            tracing::warn!(
                connections,
                open_files,
                reserved,
                "few connections: open files are limited; raise the limit (`ulimit -n`, `LimitNOFILE=`)"
            );
        } else {
            tracing::info!(connections, open_files, reserved, "connections are limited");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_what_other_files_leave() {
        let of = |limit, reserved| OpenFiles { limit }.connections(reserved);
        assert_eq!(of(65_536, 300), 4096);
        assert_eq!(of(1024, 300), 724);
        assert_eq!(of(256, 300), 64, "a few, even where there are too few files for the rest");
    }
}
