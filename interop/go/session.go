package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const closeTimeout = 5 * time.Second

// session is one scenario's view of the broker: its connections, and names that nothing else uses.
type session struct {
	scenario string
	url      string
	uri      amqp.URI
	token    string

	// A scenario that is out of time still runs while its session is closed.
	mutex       sync.Mutex
	connections []*amqp.Connection
	deletions   []func(*amqp.Channel) error
}

func newSession(scenario, url string) *session {
	token := make([]byte, 4)
	must(rand.Read(token))
	return &session{scenario: scenario, url: url, uri: must(amqp.ParseURI(url)), token: hex.EncodeToString(token)}
}

// ask asks the runner to do something to the broker: stop, restart, block or unblock.
func (s *session) ask(what string) {
	report(event{Scenario: s.scenario, Event: what})
}

func (s *session) connect() *amqp.Connection {
	return s.connectWith(amqp.Config{})
}

func (s *session) connectWith(config amqp.Config) *amqp.Connection {
	return s.keep(must(amqp.DialConfig(s.url, config)))
}

// keep has a connection closed after the scenario.
func (s *session) keep(connection *amqp.Connection) *amqp.Connection {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.connections = append(s.connections, connection)
	return connection
}

// channel opens a channel on a connection of its own.
func (s *session) channel() *amqp.Channel {
	return must(s.connect().Channel())
}

func (s *session) name(label string) string {
	return fmt.Sprintf("interop.%s.%s.%s", s.scenario, label, s.token)
}

// queue declares a queue that goes with the channel's connection.
func (s *session) queue(ch *amqp.Channel, label string) string {
	return s.queueWith(ch, label, nil)
}

func (s *session) queueWith(ch *amqp.Channel, label string, arguments amqp.Table) string {
	return must(ch.QueueDeclare(s.name(label), false, false, true, false, arguments)).Name
}

// sharedQueue declares a queue that any connection may use, deleted after the scenario.
func (s *session) sharedQueue(ch *amqp.Channel, label string) string {
	return s.sharedQueueWith(ch, label, false, nil)
}

func (s *session) durableQueue(ch *amqp.Channel, label string, arguments amqp.Table) string {
	name := s.name(label)
	s.deleteQueueLater(name)
	return must(ch.QueueDeclare(name, true, false, false, false, arguments)).Name
}

func (s *session) sharedQueueWith(ch *amqp.Channel, label string, autoDelete bool, arguments amqp.Table) string {
	name := s.name(label)
	s.deleteQueueLater(name)
	return must(ch.QueueDeclare(name, false, autoDelete, false, false, arguments)).Name
}

func (s *session) deleteQueueLater(name string) {
	s.later(func(ch *amqp.Channel) error {
		_, err := ch.QueueDelete(name, false, false, false)
		return err
	})
}

// exchange declares an exchange, deleted after the scenario.
func (s *session) exchange(ch *amqp.Channel, kind, label string) string {
	return s.exchangeWith(ch, kind, label, exchangeOptions{})
}

type exchangeOptions struct {
	durable, autoDelete, internal bool
	arguments                     amqp.Table
}

func (s *session) exchangeWith(ch *amqp.Channel, kind, label string, options exchangeOptions) string {
	name := s.name(label)
	check(ch.ExchangeDeclare(
		name, kind, options.durable, options.autoDelete, options.internal, false, options.arguments))
	s.later(func(ch *amqp.Channel) error { return ch.ExchangeDelete(name, false, false) })
	return name
}

func (s *session) later(deletion func(*amqp.Channel) error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.deletions = append(s.deletions, deletion)
}

func (s *session) close() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, connection := range s.connections {
		_ = connection.CloseDeadline(time.Now().Add(closeTimeout))
	}
	if len(s.deletions) == 0 {
		return
	}
	// If the broker is gone, what was declared is gone with it.
	connection, err := amqp.Dial(s.url)
	if err != nil {
		return
	}
	defer connection.Close()
	for _, deletion := range s.deletions {
		if ch, err := connection.Channel(); err == nil {
			_ = deletion(ch)
			_ = ch.Close()
		}
	}
}
