//! A worker's sockets: connected from many addresses, read into one buffer, lost.

use super::{Conn, Role, Stage, Worker, frame, nanos_each};
use crate::{meter, orders::Dialect};
use rustix::{
    event::epoll::{self, EventData, EventFlags},
    io::Errno,
    net::{RecvFlags, SendFlags},
};
use socket2::{Domain, Protocol, Socket, Type};
use std::net::{IpAddr, SocketAddr};

/// Receive buffer of a socket that will not be read, in bytes: so that it fills at once.
const STALLED_BUFFER_LEN: usize = 4096;

impl Worker {
    pub(super) fn connect(&mut self, index: usize) {
        let source = self.duty.sources[index % self.duty.sources.len()];
        let conn = &mut self.conns[index];
        let door = self.duty.doors[usize::from(conn.door)];
        conn.begun = meter::now();
        let connected = open(source.into(), door, conn.stalls).and_then(|socket| {
            epoll::add(
                &self.epoll,
                &socket,
                EventData::new_u64(index as u64),
                EventFlags::OUT,
            )?;
            Ok(socket)
        });
        match connected {
            Ok(socket) => {
                conn.fd = Some(socket.into());
                conn.stage = Stage::Connecting;
                self.under_way += 1;
            }
            Err(error) => {
                conn.stage = Stage::Gone;
                self.failed += 1;
                self.counts.trouble(&format!("connecting: {error}"));
            }
        }
    }

    /// The kernel says that a connection stands, or does not.
    pub(super) fn connected(&mut self, index: usize) {
        let conn = &mut self.conns[index];
        let (Stage::Connecting, Some(fd)) = (conn.stage, &conn.fd) else {
            return;
        };
        if let Ok(Err(error)) | Err(error) = rustix::net::sockopt::socket_error(fd) {
            self.lose(index, &format!("connecting: {error}"));
            return;
        }
        let modified = epoll::modify(
            &self.epoll,
            fd,
            EventData::new_u64(index as u64),
            EventFlags::IN,
        );
        if let Err(error) = modified {
            self.lose(index, &format!("epoll: {error}"));
            return;
        }
        let path = match self.duty.dialect {
            Dialect::Bare => {
                self.joined(index);
                return;
            }
            Dialect::Rookery => "/ws",
            Dialect::WebSocket => "/",
            Dialect::SocketIo => "/socket.io/?EIO=4&transport=websocket",
        };
        conn.stage = Stage::Handshaking;
        let door = self.duty.doors[usize::from(conn.door)];
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {door}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        self.send(index, request.as_bytes());
    }

    /// It is in its room.
    pub(super) fn joined(&mut self, index: usize) {
        let conn = &mut self.conns[index];
        if conn.stage == Stage::Ready || conn.stage == Stage::Gone {
            return;
        }
        conn.stage = Stage::Ready;
        self.under_way -= 1;
        self.ready += 1;
        if conn.next.is_some() && conn.role == Role::Spectator {
            let waited = super::tally::micros(meter::now(), conn.lost_at);
            self.counts.returns.saturating_record(waited);
        }
        if conn.stalls
            && let Some(fd) = &conn.fd
            && let Err(error) = epoll::delete(&self.epoll, fd)
        {
            self.counts.trouble(&format!("epoll: {error}"));
        }
    }

    pub(super) fn lose(&mut self, index: usize, why: &str) {
        let conn = &mut self.conns[index];
        match conn.stage {
            Stage::Gone | Stage::Waiting => return,
            Stage::Ready => {
                self.ready -= 1;
                self.counts.tally.closed += 1;
            }
            Stage::Connecting | Stage::Handshaking | Stage::Joining => {
                self.under_way -= 1;
                self.failed += 1;
            }
        }
        conn.stage = Stage::Gone;
        conn.lost_at = meter::now();
        conn.rest = Vec::new();
        // Closed, and so off the epoll.
        conn.fd = None;
        self.counts.trouble(why);
    }

    pub(super) fn send_text(&mut self, index: usize, text: &str) {
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        frame::write(&mut out, frame::TEXT, text.as_bytes());
        self.send(index, &out);
        self.out = out;
    }

    pub(super) fn send(&mut self, index: usize, bytes: &[u8]) {
        let Some(fd) = &self.conns[index].fd else {
            return;
        };
        match rustix::net::send(fd, bytes, SendFlags::NOSIGNAL) {
            Ok(len) if len == bytes.len() => {}
            // What we say is small and rare: a buffer that is full is a server that does not read.
            Ok(_) => self.lose(index, "the server does not read"),
            Err(error) => self.lose(index, &format!("sending: {error}")),
        }
    }

    pub(super) fn read(&mut self, index: usize, buffer: &mut [u8]) {
        let conn = &mut self.conns[index];
        let Some(fd) = &conn.fd else {
            return;
        };
        match rustix::net::recv(fd, &mut *buffer, RecvFlags::empty()) {
            Ok((0, _)) => self.lose(index, "the server ended the connection"),
            Ok((len, _)) if conn.rest.is_empty() => {
                let taken = self.hear(index, &buffer[..len]);
                if taken < len && self.conns[index].fd.is_some() {
                    self.conns[index].rest = buffer[taken..len].to_vec();
                }
            }
            Ok((len, _)) => {
                let mut bytes = std::mem::take(&mut conn.rest);
                bytes.extend(&buffer[..len]);
                let taken = self.hear(index, &bytes);
                if taken < bytes.len() && self.conns[index].fd.is_some() {
                    bytes.drain(..taken);
                    self.conns[index].rest = bytes;
                }
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => self.lose(index, &format!("reading: {error}")),
        }
    }

    /// Cuts all connections to a server, and lets them come back to another.
    pub(super) fn come_back(
        &mut self,
        from: usize,
        to: SocketAddr,
        per_second: f64,
    ) -> anyhow::Result<()> {
        let door = u16::try_from(self.duty.doors.len())?;
        self.duty.doors.push(to);
        let now = meter::now();
        for (index, conn) in self.conns.iter_mut().enumerate() {
            if usize::from(conn.door) != from || conn.role != Role::Spectator || conn.stalls {
                continue;
            }
            match conn.stage {
                Stage::Ready => {
                    self.ready -= 1;
                    conn.lost_at = now;
                }
                Stage::Gone => {}
                _ => continue,
            }
            *conn = Conn {
                fd: None,
                rest: Vec::new(),
                door,
                stage: Stage::Waiting,
                ..*conn
            };
            self.waiting.push_back(u32::try_from(index)?);
        }
        self.pace = nanos_each(per_second);
        self.next_connect = now;
        Ok(())
    }
}

fn open(source: IpAddr, door: SocketAddr, stalls: bool) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if stalls {
        socket.set_recv_buffer_size(STALLED_BUFFER_LEN)?;
    }
    if door.ip().is_loopback() {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    match socket.connect(&door.into()) {
        Ok(()) => Ok(socket),
        Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => Ok(socket),
        Err(error) => Err(error),
    }
}
