//! The floor: the least that a server can do to bring one event to many sockets. A single thread that writes the bytes of
//! each frame it is sent to every socket it has, one `send` each, and nothing else: no handshake, no protocol, no queue.

use crate::worker::frame;
use anyhow::Context;
use rustix::{
    event::epoll::{self, Event, EventData, EventFlags},
    fd::OwnedFd,
    io::Errno,
    net::{RecvFlags, SendFlags, SocketFlags},
};
use socket2::{Domain, Protocol, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr};

/// As a server that means it: handshakes of a crowd must not wait for a second SYN.
const BACKLOG: i32 = 4096;

/// Send buffer of a socket, in bytes; what Rookery's own sockets have is of this order too.
const SEND_BUFFER_LEN: usize = 64 * 1024;

const LISTENER: u64 = u64::MAX;
const STDIN: u64 = u64::MAX - 1;

/// Serves until standard input ends.
pub fn serve() -> anyhow::Result<()> {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    listener.set_nonblocking(true)?;
    listener.set_tcp_nodelay(true)?;
    listener.set_send_buffer_size(SEND_BUFFER_LEN)?;
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    listener.listen(BACKLOG)?;
    let address = listener.local_addr()?.as_socket().context("an address")?;
    println!("listening http={address}");
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(
        &epoll,
        &listener,
        EventData::new_u64(LISTENER),
        EventFlags::IN,
    )?;
    let stdin = rustix::stdio::stdin();
    epoll::add(&epoll, stdin, EventData::new_u64(STDIN), EventFlags::IN)?;
    let mut sockets: Vec<Option<OwnedFd>> = Vec::new();
    let mut events: Vec<Event> = Vec::with_capacity(1024);
    let mut buffer = vec![0; 64 * 1024];
    let mut out = Vec::new();
    loop {
        events.clear();
        match epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("waiting for sockets"),
        }
        for event in &events {
            match event.data.u64() {
                STDIN => return Ok(()),
                LISTENER => accept(&epoll, &listener, &mut sockets)?,
                index => {
                    let place = &mut sockets[usize::try_from(index)?];
                    let Some(socket) = place else {
                        continue;
                    };
                    match rustix::net::recv(socket, &mut *buffer, RecvFlags::empty()) {
                        Ok((0, _)) => *place = None,
                        // Whoever publishes sends a frame in one piece, and waits for it to come back.
                        Ok((len, _)) => {
                            let mut bytes = &buffer[..len];
                            while let Some((opcode, payload, len)) = frame::first_masked(bytes) {
                                bytes = &bytes[len..];
                                if opcode == frame::TEXT {
                                    out.clear();
                                    frame::write_unmasked(&mut out, frame::TEXT, &payload);
                                    write_to_all(&mut sockets, &out);
                                }
                            }
                        }
                        Err(Errno::AGAIN | Errno::INTR) => {}
                        Err(_) => *place = None,
                    }
                }
            }
        }
    }
}

fn accept(
    epoll: &OwnedFd,
    listener: &Socket,
    sockets: &mut Vec<Option<OwnedFd>>,
) -> anyhow::Result<()> {
    loop {
        let socket =
            rustix::net::accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC);
        match socket {
            Ok(socket) => {
                let index = EventData::new_u64(sockets.len() as u64);
                epoll::add(epoll, &socket, index, EventFlags::IN)?;
                sockets.push(Some(socket));
            }
            Err(Errno::AGAIN) => return Ok(()),
            Err(Errno::INTR | Errno::CONNABORTED) => {}
            Err(error) => return Err(error).context("accepting"),
        }
    }
}

fn write_to_all(sockets: &mut [Option<OwnedFd>], bytes: &[u8]) {
    for place in sockets {
        let Some(socket) = place else {
            continue;
        };
        // One that does not read gets nothing more: a floor has no queues. Whoever counts will see it.
        let sent = rustix::net::send(&*socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
        if sent != Ok(bytes.len()) {
            *place = None;
        }
    }
}
