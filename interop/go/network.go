package main

import (
	"net"
	"sync"
	"sync/atomic"

	amqp "github.com/rabbitmq/amqp091-go"
)

// network is a network connection that a scenario can make silent, so that nothing more is sent, and deaf, so that
// nothing more is read. What cannot be sent is lost without a word.
type network struct {
	net.Conn
	silent  atomic.Bool
	reading sync.Mutex
}

// connectOver opens a connection over a network that the scenario can disturb.
func (s *session) connectOver(config amqp.Config) (*amqp.Connection, *network) {
	disturbed := &network{}
	config.Dial = func(protocol, address string) (net.Conn, error) {
		dialled, err := amqp.DefaultDial(eventTimeout)(protocol, address)
		disturbed.Conn = dialled
		return disturbed, err
	}
	return s.connectWith(config), disturbed
}

func (n *network) Write(bytes []byte) (int, error) {
	if !n.silent.Load() {
		_, _ = n.Conn.Write(bytes)
	}
	return len(bytes), nil
}

func (n *network) Read(bytes []byte) (int, error) {
	n.reading.Lock()
	n.reading.Unlock() // A gate: to pass it is enough.
	return n.Conn.Read(bytes)
}

// stopReading lets at most the read end that is under way.
func (n *network) stopReading() { n.reading.Lock() }

func (n *network) resumeReading() { n.reading.Unlock() }
