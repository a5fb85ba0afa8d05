//! One WebSocket connection of the server, after its handshake.
//!
//! It has two threads: one reads, the other writes. Everything that goes out (pushes, answers, pongs, the closing
//! handshake) passes through one channel to the writing thread, so that frames never interleave and a push
//! leaves as soon as it is queued.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

use crossbeam_channel::{Receiver, Sender, select, unbounded};
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Message, WebSocket};

use super::hub::Hub;
use super::stream::{Channel, MAX_MESSAGE};

/// What tungstenite reads from and writes to: the socket itself, and the channel to the writing thread.
struct Duplex {
    socket: TcpStream,
    outgoing: Sender<Vec<u8>>,
}

impl Read for Duplex {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.read(buffer)
    }
}

impl Write for Duplex {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Serves a connection until its client leaves, falls silent beyond the socket's read time-out, or breaks the
/// protocol. `early` is what arrived behind the handshake.
pub(super) fn serve(socket: TcpStream, early: Vec<u8>, channel: Channel, hub: &Hub) -> io::Result<()> {
    let writing = socket.try_clone()?;
    let (outgoing, raw) = unbounded();
    let (number, messages) = hub.open(channel);
    let writer = thread::Builder::new().name("exchange-push".to_owned()).spawn(move || write(writing, &messages, &raw));
    let writer = writer.inspect_err(|_| hub.close(number))?;
    let config = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
    let duplex = Duplex { socket, outgoing };
    let mut websocket = WebSocket::from_partially_read(duplex, early, Role::Server, Some(config));
    while let Ok(message) = websocket.read() {
        // Pings are answered by tungstenite itself; `flush` hands the answer over now, not at the next read.
        let open = match message {
            Message::Text(text) => hub.receive(number, text.as_str()),
            _ => true,
        };
        if !open || websocket.flush().is_err() {
            break;
        }
    }
    hub.close(number);
    drop(websocket);
    let _ = writer.join();
    Ok(())
}

/// Writes whatever comes, until the reading thread and the hub have both let go.
fn write(mut socket: TcpStream, messages: &Receiver<String>, raw: &Receiver<Vec<u8>>) {
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        select! {
            recv(messages) -> message => match message {
                Ok(text) => {
                    let frame = Frame::message(text.into_bytes(), OpCode::Data(Data::Text), true);
                    if frame.format(&mut bytes).is_err() {
                        break;
                    }
                }
                // The session is over; what the reader still had to say (a closing frame) goes out first.
                Err(_) => {
                    bytes.extend(raw.try_iter().flatten());
                    let _ = socket.write_all(&bytes);
                    break;
                }
            },
            recv(raw) -> chunk => match chunk {
                Ok(chunk) => bytes.extend(chunk),
                Err(_) => break,
            },
        }
        if socket.write_all(&bytes).is_err() {
            break;
        }
    }
    // Wakes the reading thread if it is this side that ended.
    let _ = socket.shutdown(Shutdown::Both);
}
