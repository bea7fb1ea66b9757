//! Real parts around a real Envoy: the shipped filter, a raw client that sends any bytes, and an
//! upstream that keeps what it received.

pub mod bodies;
pub mod clock;
pub mod desk;
pub mod documents;
pub mod edge;
pub mod filter;
pub mod hostile;
pub mod http2;
pub mod lasting;
pub mod namespace;
pub mod orders;
pub mod peers;
pub mod relay;
pub mod seen;
pub mod signed;
pub mod site;
pub mod standstill;
pub mod upstream;
pub mod watch;
pub mod wire;
pub mod world;
