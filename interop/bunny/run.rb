# frozen_string_literal: true

# Plays the scenarios named as arguments against the broker at AMQP_URL, a line of JSON for each event.

require_relative "harness"

Dir[File.join(__dir__, "scenarios", "*.rb")].sort.each { |file| require file }

ARGV.each { |name| play(name, ENV.fetch("AMQP_URL")) }
