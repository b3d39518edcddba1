//! Each example, run as a user runs it: what it prints, how it fails, and that it is quiet in a pipe.

#![forbid(unsafe_code)]

mod beside_tokio;
mod crawler;
mod descriptors;
mod event_loops;
mod hackysack;
mod http_server;
mod hyper_server;
mod output;
mod parallel_grep;
mod pipeline;
mod program;
mod redis_protocol;
mod redis_server;
mod service;
mod sieve;
mod tcp_proxy;
mod tls_echo;
mod word_count;
mod ws_chat;
