//! With real sockets. Nothing waits for a time to pass but where the time is what is tested.

use super::fixture::*;
use super::*;

mod bounds;
mod mutual;
mod plain;
mod secure;
mod slow;
mod stop;
