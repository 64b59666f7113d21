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

/// Sockets that are remembered; more, and all others are forgotten.
const MAX_REMEMBERED: usize = 16 * 1024;

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
    /// Held by who looks through open files. Whoever waits for it will mostly find what it wants among what is known then.
    searching: Mutex<()>,
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
        let known = || self.known.lock().by_socket.get(&socket.inode).map(Arc::clone);
        if let Some(program) = known() {
            return Some(program);
        }
        let _searching = self.searching.lock();
        if let Some(program) = known() {
            return Some(program);
        }
        let recent = self.known.lock().recent.clone();
        // Not under that lock: others may ask for what is known meanwhile.
        let (program, sockets) = search::program_with(socket, &recent)?;
        let program = Arc::new(program);
        self.known.lock().learn(&program, socket.inode, &sockets);
        Some(program)
    }
}

impl Known {
    /// Takes down that `program` has `asked` open, and `sockets`.
    fn learn(&mut self, program: &Arc<Program>, asked: u32, sockets: &[u32]) {
        if self.by_socket.len().saturating_add(sockets.len()) > MAX_REMEMBERED {
            self.by_socket.clear();
        }
        for socket in sockets.iter().take(MAX_REMEMBERED).chain([&asked]) {
            self.by_socket.insert(*socket, Arc::clone(program));
        }
        self.recent.retain(|pid| *pid != program.pid);
        self.recent.insert(0, program.pid);
        self.recent.truncate(8);
    }
}
