//! Kills a process between two steps of its work on AWS. A proxy before the server counts the pieces of requests and
//! responses that pass, and kills the process instead of passing the last one.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::process::{Pid, Signal, kill_process};

/// A proxy that kills one process.
pub struct KillSwitch {
    /// Address of the proxy.
    pub address: String,
    fuse: Arc<Fuse>,
}

struct Fuse {
    /// Number of pieces that still pass.
    left: AtomicUsize,
    process: OnceLock<Pid>,
}

impl KillSwitch {
    /// Starts a proxy before the server at `endpoint` through which this many pieces pass.
    pub fn after(pieces: usize, endpoint: &str) -> Self {
        let server = endpoint.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let fuse = Arc::new(Fuse { left: pieces.into(), process: OnceLock::new() });
        let burning = fuse.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&server) else { return };
                let [requests, answers] = [burning.clone(), burning.clone()];
                let (from_client, to_client) = (client.try_clone().unwrap(), client);
                let (from_server, to_server) = (server.try_clone().unwrap(), server);
                std::thread::spawn(move || requests.pass(from_client, to_server));
                std::thread::spawn(move || answers.pass(from_server, to_client));
            }
        });
        Self { address, fuse }
    }

    /// Names the process that is killed.
    pub fn kills(&self, process: u32) {
        let process = Pid::from_raw(process.try_into().unwrap()).unwrap();
        self.fuse.process.set(process).unwrap();
    }
}

impl Fuse {
    /// Passes pieces on until either side closes the connection, or the process is killed.
    fn pass(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut bytes = [0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            if left.is_err() {
                // The process may have ended already.
                let _ = kill_process(*self.process.wait(), Signal::KILL);
                return;
            }
            if to.write_all(&bytes[..count]).is_err() {
                return;
            }
        }
        // The other side may have closed it already.
        let _ = to.shutdown(Shutdown::Write);
    }
}
