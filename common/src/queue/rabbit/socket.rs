//! The socket under a connection while it is dialled. `lapin` has no deadline for its handshake: a broker that takes a
//! connection and says nothing would keep the connection's thread for ever, and each dial would leave another one behind.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A second handle of it. Clones are the same.
#[derive(Clone, Default)]
pub struct Socket(Arc<Mutex<State>>);

#[derive(Default)]
enum State {
    /// Nothing is open, or it is nobody's concern here any more.
    #[default]
    None,
    Open(TcpStream),
    GivenUp,
}

impl Socket {
    /// It is open now. Refused if it was given up before.
    pub fn opened(&self, socket: &impl AsFd) -> io::Result<()> {
        let mut state = self.state();
        if matches!(*state, State::GivenUp) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        *state = State::Open(TcpStream::from(socket.as_fd().try_clone_to_owned()?));
        Ok(())
    }

    /// The connection is whole and closes its socket by itself.
    pub fn release(&self) {
        *self.state() = State::None;
    }

    /// Nobody waits for the connection any more: whoever reads from it is at the end.
    pub fn give_up(&self) {
        if let State::Open(socket) = std::mem::replace(&mut *self.state(), State::GivenUp) {
            // One that is closed already needs no more.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is whole before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
