//! A server that answers every request with the same bytes, and keeps what it was asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the server does after its bytes are out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    Close,
    /// Serves the next request of the connection.
    Serve,
    /// Keeps the connection open and says nothing.
    Hang,
    /// Says the last piece again and again.
    Flood,
}

#[derive(Debug)]
pub struct Server {
    pub url: String,
    pub requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Sends `pieces` one by one, with a pause between two.
    pub async fn start(pieces: Vec<Vec<u8>>, then: Then) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                loop {
                    let request = read_request(&mut socket).await;
                    if request.is_empty() {
                        break;
                    }
                    seen.lock().unwrap().push(request);
                    // The client may go away at any time: that is what is tested.
                    if answer(&mut socket, &pieces, then).await.is_err() || then != Then::Serve {
                        break;
                    }
                }
            }
        });
        Server { url, requests, task }
    }

    /// Answers with a status, a header and a body.
    pub async fn refusing(status: u16, header: &str, body: &str) -> Server {
        let length = body.len();
        let response = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{header}\r\n\
             content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        Server::start(vec![response.into_bytes()], Then::Close).await
    }

    /// Answers with an event stream; `whole` says whether its end is sent.
    pub async fn streaming(stream: &[u8], whole: bool, then: Then) -> Server {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                    transfer-encoding: chunked\r\n\r\n";
        let mut pieces = vec![head.as_bytes().to_vec()];
        pieces.extend(
            stream
                .chunks(700)
                .map(|part| [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat()),
        );
        if whole {
            pieces.push(b"0\r\n\r\n".to_vec());
        }
        Server::start(pieces, then).await
    }

    pub fn request(&self) -> String {
        self.requests.lock().unwrap().last().cloned().unwrap_or_default()
    }
}

async fn read_request(socket: &mut TcpStream) -> String {
    let mut request = Vec::new();
    loop {
        if socket.read_buf(&mut request).await.unwrap_or(0) == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&request).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if length.is_some_and(|length| length.parse().is_ok_and(|n: usize| body.len() >= n)) {
            break;
        }
    }
    String::from_utf8(request).unwrap()
}

async fn answer(socket: &mut TcpStream, pieces: &[Vec<u8>], then: Then) -> std::io::Result<()> {
    for piece in pieces {
        socket.write_all(piece).await?;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    match then {
        Then::Close => socket.shutdown().await,
        Then::Serve => Ok(()),
        Then::Hang => std::future::pending().await,
        Then::Flood => loop {
            socket.write_all(&pieces[pieces.len() - 1]).await?;
        },
    }
}
