//! A TCP pass-through in front of several brokers, as a network load balancer is: it sees no request and holds no key.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};

/// A broker that does not take a connection in this time is passed over.
const PATIENCE: Duration = Duration::from_secs(2);

/// Passes connections on until it is killed, each to the broker after the last one.
///
/// # Errors
/// When it cannot listen.
pub(super) fn run(listen: SocketAddr, brokers: &[SocketAddr]) -> Result<()> {
    let listener = TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
    for (turn, client) in listener.incoming().enumerate() {
        let Ok(client) = client else { continue };
        let order: Vec<_> =
            brokers.iter().copied().cycle().skip(turn % brokers.len()).take(brokers.len()).collect();
        thread::spawn(move || {
            // Nobody there: the client sees its connection end.
            let _ended = order
                .iter()
                .find_map(|broker| TcpStream::connect_timeout(broker, PATIENCE).ok())
                .map(|broker| {
                    let _unset = (client.set_nodelay(true), broker.set_nodelay(true));
                    join(&client, &broker);
                });
        });
    }
    Ok(())
}

/// Both ways, until either side ends.
fn join(client: &TcpStream, broker: &TcpStream) {
    thread::scope(|scope| {
        scope.spawn(|| pass(client, broker));
        pass(broker, client);
    });
}

fn pass(mut from: &TcpStream, mut to: &TcpStream) {
    let mut chunk = vec![0; 32 * 1024];
    while let Ok(length) = from.read(&mut chunk) {
        let Some(read) = chunk.get(..length).filter(|read| !read.is_empty()) else { break };
        if to.write_all(read).is_err() {
            break;
        }
    }
    for side in [from, to] {
        let _gone = side.shutdown(Shutdown::Both);
    }
}
