//! How every component speaks to the API server: one client type, two transports.
//!
//! [`in_memory`] reaches the API server of the same process without a socket, [`https`] any API server over the
//! network; both give a [`kube::Client`], and requests of both pass the same authentication and authorization.
//! On top stand what controllers need: [`Informer`] (a watched, decoded-once copy of a collection), [`WorkQueue`],
//! [`EventRecorder`] and [`Tasks`] (every task has an owner that joins it).

mod events;
mod informer;
mod tasks;
mod transport;
mod workqueue;

pub use events::EventRecorder;
pub use informer::{Change, Informer, Informers, Key};
pub use tasks::Tasks;
pub use transport::{Credentials, Error, https, in_memory};
pub use workqueue::WorkQueue;
