//! Counts the tasks that a drain has to wait for.
//!
//! Sessions and attempts run as tasks of their own; [`Tasks`] knows how many there are, from the moment they are made
//! until they end or are dropped, whichever way they end.
//!
//! What it deliberately does not do: end them. They hear of the drain by the daemon's phase and end by themselves.

use std::future::Future;

use tokio::sync::watch;

/// The tasks under way.
pub(crate) struct Tasks(watch::Sender<usize>);

struct Running(watch::Sender<usize>);

impl Default for Tasks {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Tasks {
    /// Counts a future from now until it ends or is dropped.
    pub(crate) fn track_future<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        self.0.send_modify(|count| *count += 1);
        let running = Running(self.0.clone());
        async move {
            let _running = running;
            future.await
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        *self.0.borrow()
    }

    /// Waits until there are none.
    pub(crate) async fn all_done(&self) {
        // The sender is ours, so the channel cannot be closed.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
