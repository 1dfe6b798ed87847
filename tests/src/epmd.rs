//! A word with an epmd, the phone book of the Erlang nodes of a machine: each node of a cluster of the tests' has a
//! machine of its own, as it were, and finds the others behind cables that a test can cut.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::wait::wait_for;

const START: Duration = Duration::from_secs(30);

/// Has the epmd at `epmd_port` say that the node `name` (`name@host`) is found at `port`, for as long as what this
/// returns stays open.
pub(crate) async fn register(epmd_port: u16, name: &str, port: u16) -> TcpStream {
    let mut stream = wait_for("epmd takes connections", START, || async {
        TcpStream::connect(("127.0.0.1", epmd_port)).await.ok()
    })
    .await;
    stream.write_all(&alive(name, port)).await.expect("epmd listens");
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).await.expect("epmd answers");
    assert!(matches!(answer, [118 | 121, 0]), "epmd does not take {name}: {answer:?}");
    stream
}

/// ALIVE2_REQ of the distribution protocol, behind its length: a normal, visible node over TCP of versions 5 to 6.
fn alive(name: &str, port: u16) -> Vec<u8> {
    let short = name.split('@').next().expect("a split has a first part");
    let length = u16::try_from(short.len()).expect("a short name");
    let mut request = vec![120];
    request.extend(port.to_be_bytes());
    request.extend([77, 0, 0, 6, 0, 5]);
    request.extend(length.to_be_bytes());
    request.extend(short.as_bytes());
    request.extend([0, 0]);
    let whole = u16::try_from(request.len()).expect("a short request");
    [&whole.to_be_bytes()[..], &request].concat()
}
