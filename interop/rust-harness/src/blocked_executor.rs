use std::future::Future;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};

/// An executor that works only while it is given something to do. In between, the connections opened on it neither read
/// nor send, like those of a program whose only thread is busy with something else.
pub struct BlockedExecutor {
    runtime: Option<Arc<Runtime>>,
}

impl BlockedExecutor {
    pub fn new() -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime: Some(Arc::new(runtime)) })
    }

    /// Runs a future to its end, and everything else on this executor meanwhile.
    pub async fn run<F>(&self, future: F) -> F::Output
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let runtime = self.runtime.clone().expect("the runtime is there until it is dropped");
        let running = tokio::task::spawn_blocking(move || runtime.block_on(future));
        running.await.expect("what runs on a blocked executor does not panic")
    }
}

impl Drop for BlockedExecutor {
    /// A runtime must not wait for its tasks where other tasks would have to wait with it.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take().and_then(Arc::into_inner) {
            runtime.shutdown_background();
        }
    }
}
