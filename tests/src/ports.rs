//! Free ports. Below the range from which the kernel takes ports for outgoing connections, so that
//! none is lost between the moment it is chosen and the moment a process listens on it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};

use tokio::net::TcpSocket;

const FIRST: u16 = 12_000;
const COUNT: u16 = 18_000;

/// A port of 127.0.0.1 that nobody listens on, and that this process has not handed out before.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test binaries that run side by side start at different places.
    let start = std::process::id().wrapping_mul(2_654_435_761) >> 8;
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let offset = (start % u32::from(COUNT) + u32::from(step)) % u32::from(COUNT);
        let port = FIRST + u16::try_from(offset).expect("COUNT fits 16 bits");
        if bind(port).is_ok() {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}

/// Bound, and not listened on: a process that is just being started by another thread has a copy of the socket for
/// a moment, which would keep a listener from the port.
fn bind(port: u16) -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}
