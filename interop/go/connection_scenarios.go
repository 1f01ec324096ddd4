package main

import (
	"bytes"
	"fmt"
	"net"
	"regexp"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

var connectionScenarios = scenarios{
	"connect_by_uri":     connectByURI,
	"connect_by_options": connectByOptions,
	"server_properties":  serverProperties,
	"amqplain_login":     amqplainLogin,
	"wrong_password":     wrongPassword,
	"unknown_vhost":      unknownVhost,
	"heartbeats":         heartbeats,
	"heartbeat_missed":   heartbeatMissed,
	"update_secret":      updateSecret,
	"small_frames":       smallFrames,
	"graceful_shutdown":  gracefulShutdown,
}

const shutdownText = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'"

func roundTrip(s *session, connection *amqp.Connection) {
	ch := must(connection.Channel())
	queue := s.queue(ch, "round trip")
	send(ch, queue, "there and back")
	equal(drain(ch, queue), []string{"there and back"}, "messages")
}

// address is the broker's, without a login.
func (s *session) address() string {
	return fmt.Sprintf("amqp://%s", net.JoinHostPort(s.uri.Host, fmt.Sprint(s.uri.Port)))
}

func connectByURI(s *session) {
	uri := fmt.Sprintf("amqp://%s:%s@%s:%d/%%2F?heartbeat=17", s.uri.Username, s.uri.Password, s.uri.Host, s.uri.Port)
	connection := s.keep(must(amqp.Dial(uri)))
	equal(connection.Config.Heartbeat, 17*time.Second, "heartbeat")
	equal(connection.Config.Vhost, "/", "vhost")
	roundTrip(s, connection)
	closed := connection.NotifyClose(make(chan *amqp.Error, 1))
	check(connection.Close())
	reason, failed := <-closed
	isTrue(!failed, fmt.Sprintf("closed without an error: %v", reason))
	isTrue(connection.IsClosed(), "the connection is closed")
}

func connectByOptions(s *session) {
	properties := amqp.NewConnectionProperties()
	properties.SetClientConnectionName(s.name("connection"))
	connection := s.keep(must(amqp.DialConfig(s.address(), amqp.Config{
		SASL:       []amqp.Authentication{s.uri.PlainAuth()},
		Vhost:      "/",
		ChannelMax: 5,
		FrameSize:  65536,
		Heartbeat:  17 * time.Second,
		Properties: properties,
	})))
	equal(connection.Config.ChannelMax, 5, "channel_max")
	equal(connection.Config.FrameSize, 65536, "frame_max")
	equal(connection.Config.Heartbeat, 17*time.Second, "heartbeat")
	roundTrip(s, connection)
	for n := 0; n < 4; n++ {
		must(connection.Channel())
	}
	_, err := connection.Channel()
	equal[error](err, amqp.ErrChannelMax, "error of a sixth channel")
}

func serverProperties(s *session) {
	properties := s.connect().Properties
	equal(properties["product"], any("RabbitMQ"), "product")
	version, _ := properties["version"].(string)
	isVersion := regexp.MustCompile(`^\d+\.\d+\.\d+$`).MatchString
	isTrue(isVersion(version), fmt.Sprintf("version %q is of the form x.y.z", version))
	capabilities, _ := properties["capabilities"].(amqp.Table)
	for _, capability := range []string{
		"publisher_confirms",
		"exchange_exchange_bindings",
		"basic.nack",
		"consumer_cancel_notify",
		"connection.blocked",
		"consumer_priorities",
		"authentication_failure_close",
		"per_consumer_qos",
		"direct_reply_to",
	} {
		equal(capabilities[capability], any(true), capability)
	}
}

func amqplainLogin(s *session) {
	connection := s.connectWith(amqp.Config{SASL: []amqp.Authentication{s.uri.AMQPlainAuth()}})
	equal(connection.Config.SASL[0].Mechanism(), "AMQPLAIN", "mechanism")
	roundTrip(s, connection)
}

// The client does not say that it understands a refusal, so the broker closes without a word after some seconds, and
// the client finds words of its own.
func wrongPassword(s *session) {
	refuse := func(user string) func() {
		return func() {
			_, err := amqp.DialConfig(s.address(), amqp.Config{
				SASL: []amqp.Authentication{&amqp.PlainAuth{Username: user, Password: "wrong"}},
			})
			isTrue(err != nil, "the login is refused")
			equal(err.Error(), `Exception (403) Reason: "username or password not allowed"`, "refusal of "+user)
		}
	}
	parallel(refuse(s.uri.Username), refuse("nobody"))
}

func unknownVhost(s *session) {
	_, err := amqp.DialConfig(s.url, amqp.Config{Vhost: "nowhere"})
	refusedWith(err, amqp.NotAllowed, "NOT_ALLOWED - vhost nowhere not found")
}

func heartbeats(s *session) {
	connection := s.connectWith(amqp.Config{Heartbeat: time.Second})
	equal(connection.Config.Heartbeat, time.Second, "heartbeat")
	closed := connection.NotifyClose(make(chan *amqp.Error, 1))
	select {
	case reason := <-closed:
		fail("the idle connection was closed: %v", reason)
	case <-time.After(3500 * time.Millisecond):
	}
	roundTrip(s, connection)
}

func heartbeatMissed(s *session) {
	observer := s.channel()
	queue := s.sharedQueue(observer, "queue")
	connection, network := s.connectOver(amqp.Config{Heartbeat: time.Second})
	closed := connection.NotifyClose(make(chan *amqp.Error, 1))
	holder := must(connection.Channel())
	send(holder, queue, "held")
	consume(holder, queue).take(1)
	network.silent.Store(true)
	equal(marked(consume(observer, queue).take(1)), []string{"held again"}, "messages of the observer")
	reason := await(closed, "the silent connection is closed").Error()
	isTrue(!strings.Contains(reason, "timeout"), "the broker closed, not the client: "+reason)
}

func updateSecret(s *session) {
	connection := s.connect()
	check(connection.UpdateSecret(s.uri.Password, "rotation"))
	roundTrip(s, connection)
}

func smallFrames(s *session) {
	connection := s.connectWith(amqp.Config{FrameSize: 4096})
	equal(connection.Config.FrameSize, 4096, "frame_max")
	ch := must(connection.Channel())
	queue := s.queue(ch, "queue")
	body := pattern(100_000)
	headers := amqp.Table{"long": strings.Repeat("h", 3000)}
	publish(ch, amqp.DefaultExchange, queue, amqp.Publishing{Headers: headers, Body: body})
	received := getOne(ch, queue, true)
	equal(len(received.Body), len(body), "body size")
	isTrue(bytes.Equal(received.Body, body), "the body is unchanged")
	equal(received.Headers, headers, "headers")
}

// RabbitMQ resets the connection right behind its last word. If the client saw that its answer cannot be sent, it would
// sometimes tell of that instead.
func gracefulShutdown(s *session) {
	connection, _ := s.connectOver(amqp.Config{})
	roundTrip(s, connection)
	closed := connection.NotifyClose(make(chan *amqp.Error, 1))
	s.ask("stop")
	refusedWith(await(closed, "told that the broker stops"), amqp.ConnectionForced, shutdownText)
}
