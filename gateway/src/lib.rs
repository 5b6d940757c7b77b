//! A gateway node: sockets in, sockets out.
