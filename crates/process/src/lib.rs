//! Which process of this host a connection belongs to: what `PROCESS-NAME`, `PROCESS-PATH` and `UID` rules ask.
//!
//! What it is: a question to the kernel about one socket (netlink `sock_diag`), and a search for that socket among the open
//! files of processes (`/proc/*/fd`), whose result is remembered.
//!
//! What it is not: it knows no rule, and answers nothing about processes of other hosts or network namespaces. Seeing the
//! files of other users' processes needs root, or `CAP_SYS_PTRACE` and `CAP_DAC_READ_SEARCH`.
//!
//! ```
//! use std::net::{TcpListener, TcpStream};
//!
//! use adit_net::Network;
//! use adit_process::Processes;
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let client = TcpStream::connect(listener.local_addr()?)?;
//! let owner = Processes::new().owner(client.local_addr()?, client.peer_addr()?, Network::Tcp);
//! assert_eq!(owner.and_then(|owner| owner.program).map(|program| program.pid), Some(std::process::id()));
//! # Ok::<(), std::io::Error>(())
//! ```

#![forbid(unsafe_code)]

pub mod diag;
mod search;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use adit_net::{Network, unmapped};
use parking_lot::Mutex;

/// Sockets that are remembered; one more, and all are forgotten.
const MAX_REMEMBERED: usize = 4096;

/// Who has a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user that made the socket; 0 is root.
    pub uid: u32,
    /// What has it open, if that can be seen. Of several processes that share it, one.
    pub program: Option<Arc<Program>>,
}

/// A running program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its process id.
    pub pid: u32,
    /// The base name of its executable.
    pub name: String,
    /// The full path of its executable; of one that was deleted, as it was.
    pub path: String,
}

/// Answers, and remembers what it found out.
///
/// A socket's number is not used again for billions of sockets, so what was found stays true for as long as the socket
/// exists.
#[derive(Debug, Default)]
pub struct Processes {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_socket: HashMap<u32, Arc<Program>>,
    /// Where the last sockets were found: a program that opens one connection opens more.
    recent: Vec<u32>,
}

impl Processes {
    /// One that knows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whose socket is bound to `local` and speaks with `remote`, both as that socket sees them: `local` is our client,
    /// `remote` is where it believes to be connected. `None` if this host has no such socket.
    ///
    /// Blocks: tens of microseconds for a socket that is known, else as long as it takes to look at the open files of
    /// all processes of one user (milliseconds).
    #[must_use]
    pub fn owner(&self, local: SocketAddr, remote: SocketAddr, network: Network) -> Option<Owner> {
        let found = diag::find(unmapped(local), unmapped(remote), network)?;
        let program = self.program(found);
        Some(Owner { uid: found.uid, program })
    }

    fn program(&self, socket: diag::Found) -> Option<Arc<Program>> {
        let recent = {
            let known = self.known.lock();
            if let Some(program) = known.by_socket.get(&socket.inode) {
                return Some(Arc::clone(program));
            }
            known.recent.clone()
        };
        // Not under the lock: others may ask for what is known meanwhile.
        let program = Arc::new(search::program_with(socket, &recent)?);
        let mut known = self.known.lock();
        if known.by_socket.len() >= MAX_REMEMBERED {
            known.by_socket.clear();
        }
        known.by_socket.insert(socket.inode, Arc::clone(&program));
        known.recent.retain(|pid| *pid != program.pid);
        known.recent.insert(0, program.pid);
        known.recent.truncate(8);
        Some(program)
    }
}
