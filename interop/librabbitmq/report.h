/* The events that the runner reads, a line of JSON each. */

#ifndef REPORT_H
#define REPORT_H

void report_event(const char *scenario, const char *event);
void report_passed(const char *scenario, double seconds);
void report_failed(const char *scenario, double seconds, const char *message);
void report_lacking(const char *scenario, const char *message);

#endif
