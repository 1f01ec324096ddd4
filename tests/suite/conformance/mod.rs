//! The rules of AMQP 0-9-1 as RabbitMQ applies them: exact class, method, code, text and order.

mod access;
mod alternate_exchange;
mod basic_consume;
mod basic_get_ack;
mod basic_publish;
mod channel;
mod confirm;
mod connection;
mod consumer_arguments;
mod consumer_timeout;
mod crowd;
mod dedup;
mod delayed;
mod exchange;
mod exchange_types;
mod frames;
mod limits;
mod policies;
mod properties;
mod qos;
mod queue;
mod reply_to;
mod routing;
mod rules;
mod traps;
mod tx;
