// Plays the scenarios named as arguments against the broker at AMQP_URL, a line of JSON for each event.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

const scenarioTimeout = 45 * time.Second

// scenarios are functions that end by themselves if all is well and panic if it is not.
type scenarios map[string]func(*session)

var groups = []scenarios{
	connectionScenarios,
	channelScenarios,
	queueScenarios,
	exchangeScenarios,
	deadLetterScenarios,
	messageScenarios,
	publishingScenarios,
	consumingScenarios,
	transactionAndRPCScenarios,
	loadScenarios,
}

func main() {
	for _, name := range os.Args[1:] {
		play(name, os.Getenv("AMQP_URL"))
	}
}

func play(name, url string) {
	report(event{Scenario: name, Event: "started"})
	started := time.Now()
	session := newSession(name, url)
	failure := playWithin(scenarioTimeout, session)
	session.close()
	seconds := time.Since(started).Seconds()
	if failure != nil {
		report(event{Scenario: name, Event: "failed", Seconds: seconds, Message: failure.Error()})
		return
	}
	report(event{Scenario: name, Event: "passed", Seconds: seconds})
}

func playWithin(timeout time.Duration, session *session) error {
	scenario := find(session.scenario)
	if scenario == nil {
		return errors.New("the client has no such scenario")
	}
	ended := make(chan error, 1)
	go func() {
		ended <- caught(func() { scenario(session) })
	}()
	select {
	case failure := <-ended:
		return failure
	case <-time.After(timeout):
		return fmt.Errorf("not done after %v", timeout)
	}
}

func find(name string) func(*session) {
	for _, group := range groups {
		if scenario := group[name]; scenario != nil {
			return scenario
		}
	}
	return nil
}

// caught runs a function and returns why it panicked, with the line of the scenario that did.
func caught(function func()) (failure error) {
	defer func() {
		switch reason := recover().(type) {
		case nil:
		case placed:
			failure = reason
		default:
			failure = placed(fmt.Sprintf("%v%s", reason, scenarioLine()))
		}
	}()
	function()
	return nil
}

// placed is a failure that says where it happened.
type placed string

func (failure placed) Error() string { return string(failure) }

func scenarioLine() string {
	callers := make([]uintptr, 64)
	frames := runtime.CallersFrames(callers[:runtime.Callers(1, callers)])
	for {
		frame, more := frames.Next()
		if file := filepath.Base(frame.File); strings.HasSuffix(file, "_scenarios.go") {
			return fmt.Sprintf(" (%s:%d)", file, frame.Line)
		}
		if !more {
			return ""
		}
	}
}

type event struct {
	Scenario string  `json:"scenario"`
	Event    string  `json:"event"`
	Seconds  float64 `json:"seconds,omitempty"`
	Message  string  `json:"message,omitempty"`
}

func report(event event) {
	line, err := json.Marshal(event)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}
