//! Counts what a stranger sends, before he is let in.
//!
//! The WebSocket library has one frame limit for the life of a connection. Ours is small before
//! `connect` and large after, so the socket below it is metered until then.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// How many more bytes a socket may bring.
#[derive(Clone, Debug)]
pub struct Meter(Arc<AtomicU64>);

impl Meter {
    fn open() -> Meter {
        Meter(Arc::new(AtomicU64::new(u64::MAX)))
    }

    /// From here on `bytes` may come, and no more.
    pub fn limit(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    /// From here on anything may come.
    pub fn lift(&self) {
        self.limit(u64::MAX);
    }

    fn take(&self, bytes: usize) -> io::Result<()> {
        let left = self.0.load(Ordering::Relaxed);
        if left == u64::MAX {
            return Ok(());
        }
        let bytes = bytes as u64;
        self.0.store(left.saturating_sub(bytes), Ordering::Relaxed);
        if bytes > left {
            return Err(io::Error::other("the client sent too much before `connect`"));
        }
        Ok(())
    }
}

/// Who is at the other end, and the meter of the socket.
#[derive(Clone, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    pub meter: Meter,
}

impl Connected<IncomingStream<'_, Metered>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Metered>) -> Peer {
        stream.remote_addr().clone()
    }
}

/// A listener whose sockets have meters.
#[derive(Debug)]
pub struct Metered(pub TcpListener);

impl Listener for Metered {
    type Io = MeteredStream;
    type Addr = Peer;

    async fn accept(&mut self) -> (MeteredStream, Peer) {
        let (inner, address) = Listener::accept(&mut self.0).await;
        // Frames are small and somebody waits for each.
        if let Err(error) = inner.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let meter = Meter::open();
        (MeteredStream { inner, meter: meter.clone() }, Peer { address, meter })
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Ok(Peer { address: self.0.local_addr()?, meter: Meter::open() })
    }
}

/// A socket that stops reading when its meter says so.
#[derive(Debug)]
pub struct MeteredStream {
    inner: TcpStream,
    meter: Meter,
}

impl AsyncRead for MeteredStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        Poll::Ready(self.meter.take(buf.filled().len() - before))
    }
}

impl AsyncWrite for MeteredStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_runs_out_and_can_be_lifted() {
        let meter = Meter::open();
        meter.take(1 << 40).unwrap();
        meter.limit(10);
        meter.take(10).unwrap();
        assert!(meter.take(1).is_err());
        meter.lift();
        meter.take(1 << 40).unwrap();
    }
}
