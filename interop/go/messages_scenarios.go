package main

import (
	"bytes"
	"math"
	"math/rand"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

var messageScenarios = scenarios{
	"message_properties": messageProperties,
	"header_field_types": headerFieldTypes,
	"body_sizes":         bodySizes,
	"body_16_mib":        body16MiB,
}

const (
	frameMax      = 131072
	frameOverhead = 8
)

func pattern(size int) []byte {
	body := make([]byte, size)
	for n := range body {
		body[n] = byte(n % 251)
	}
	return body
}

func messageProperties(s *session) {
	ch := s.channel()
	queue := s.queue(ch, "queue")
	for _, given := range []amqp.Publishing{
		{
			Headers:         amqp.Table{"key": "value"},
			ContentType:     "application/json",
			ContentEncoding: "gzip",
			DeliveryMode:    amqp.Persistent,
			Priority:        7,
			CorrelationId:   "correlation",
			ReplyTo:         "reply.queue",
			Expiration:      "3600000",
			MessageId:       "message-1",
			Timestamp:       time.Unix(1700000000, 0).UTC(),
			Type:            "order.created",
			UserId:          s.uri.Username,
			AppId:           "interop",
			Body:            []byte("body"),
		},
		{Body: []byte("body")},
		{Body: []byte("body"), DeliveryMode: amqp.Transient, Priority: 255},
	} {
		publish(ch, amqp.DefaultExchange, queue, given)
		equal(asPublished(getOne(ch, queue, true)), given, "message")
	}
}

// asPublished is a delivery as its publisher would have had to publish it.
func asPublished(delivery amqp.Delivery) amqp.Publishing {
	published := amqp.Publishing{
		Headers:         delivery.Headers,
		ContentType:     delivery.ContentType,
		ContentEncoding: delivery.ContentEncoding,
		DeliveryMode:    delivery.DeliveryMode,
		Priority:        delivery.Priority,
		CorrelationId:   delivery.CorrelationId,
		ReplyTo:         delivery.ReplyTo,
		Expiration:      delivery.Expiration,
		MessageId:       delivery.MessageId,
		Timestamp:       delivery.Timestamp,
		Type:            delivery.Type,
		UserId:          delivery.UserId,
		AppId:           delivery.AppId,
		Body:            delivery.Body,
	}
	if !published.Timestamp.IsZero() {
		published.Timestamp = published.Timestamp.UTC()
	}
	return published
}

func headerFieldTypes(s *session) {
	ch := s.channel()
	queue := s.queue(ch, "queue")
	scalars := amqp.Table{
		"longstr":       "text äöü",
		"empty longstr": "",
		"bytes":         []byte{0, 255, 254},
		"true":          true,
		"false":         false,
		"byte":          byte(255),
		"int8":          int8(math.MinInt8),
		"int16":         int16(math.MinInt16),
		"uint16":        uint16(math.MaxUint16),
		"int32":         int32(math.MinInt32),
		"uint32":        uint32(math.MaxUint32),
		"int64":         int64(math.MinInt64),
		"float32":       float32(0.1),
		"float64":       1.2345678901234567,
		"decimal":       amqp.Decimal{Scale: 3, Value: 12345},
		"timestamp":     time.Unix(1709209815, 0),
		"void":          nil,
	}
	headers := amqp.Table{
		"array":                  []any{int32(1), "two", []any{true, nil}, amqp.Table{"four": int64(4)}},
		"empty array":            []any(nil),
		"table":                  amqp.Table{"scalars": scalars, "deeper": amqp.Table{"deepest": amqp.Table{}}},
		strings.Repeat("k", 255): "long key",
	}
	for name, value := range scalars {
		headers[name] = value
	}
	publish(ch, amqp.DefaultExchange, queue, amqp.Publishing{Headers: headers})
	received := getOne(ch, queue, true).Headers
	equal(len(received), len(headers), "number of headers")
	for name, value := range headers {
		equal(received[name], value, name)
	}
}

func bodySizes(s *session) {
	connection := s.connect()
	equal(connection.Config.FrameSize, frameMax, "frame_max")
	ch := must(connection.Channel())
	queue := s.queue(ch, "queue")
	const frame = frameMax - frameOverhead
	sizes := []int{0, 1, frame - 1, frame, frame + 1, 2*frame - 1, 2 * frame, 2*frame + 1}
	for _, size := range sizes {
		publish(ch, amqp.DefaultExchange, queue, amqp.Publishing{Body: pattern(size)})
	}
	for n, delivery := range consumeAutoAck(ch, queue).take(len(sizes)) {
		equal(len(delivery.Body), sizes[n], "body size")
		isTrue(bytes.Equal(delivery.Body, pattern(sizes[n])), "the body is unchanged")
	}
}

func body16MiB(s *session) {
	ch := s.channel()
	queue := s.queue(ch, "queue")
	body := make([]byte, 16*1024*1024)
	must(rand.New(rand.NewSource(16)).Read(body))
	sendConfirmed(ch, queue, amqp.Publishing{Body: body})
	received := consumeAutoAck(ch, queue).take(1)[0].Body
	equal(len(received), len(body), "body size")
	isTrue(bytes.Equal(received, body), "the body is unchanged")
}
