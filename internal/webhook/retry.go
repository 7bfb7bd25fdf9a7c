package webhook

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// MaxRetryAfter is the longest that a receiver can put off the next attempt.
const MaxRetryAfter = 24 * time.Hour

// ParseRetryAfter reads the header Retry-After: seconds, or a date as HTTP writes it. It gives at most MaxRetryAfter, 0 for a date
// that is past, and false for what is neither.
func ParseRetryAfter(value string, now time.Time) (time.Duration, bool) {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0, false
	}
	if strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.ParseUint(value, 10, 64)
		if err != nil || seconds > uint64(MaxRetryAfter/time.Second) { // all digits: it is out of range
			return MaxRetryAfter, true
		}
		return time.Duration(seconds) * time.Second, true
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(now), 0), MaxRetryAfter), true
}

// Schedule says when a message is sent again.
type Schedule struct {
	// Delays are the pauses after the first attempt, the second, and so on. There is one attempt more than delays.
	Delays []time.Duration
	// Jitter is the share of each pause, 0 to 1, that is left to chance: a pause is shortened by up to so much, so that messages
	// which failed together do not come back together and the last attempt is not later than the sum of the delays.
	Jitter float64
}

// DefaultSchedule makes 10 attempts within 72 hours:
//
//	attempt   pause before it   after the first, at most
//	      1                 -                          -
//	      2               5 s                        5 s
//	      3              55 s                      1 min
//	      4             4 min                      5 min
//	      5            25 min                     30 min
//	      6        1 h 30 min                        2 h
//	      7               6 h                        8 h
//	      8              12 h                       20 h
//	      9              24 h                       44 h
//	     10              28 h                       72 h
//
// Each pause is up to a fifth shorter, at random. What a receiver asks for by Retry-After comes on top.
func DefaultSchedule() Schedule {
	return Schedule{
		Delays: []time.Duration{
			5 * time.Second, 55 * time.Second, 4 * time.Minute, 25 * time.Minute, 90 * time.Minute,
			6 * time.Hour, 12 * time.Hour, 24 * time.Hour, 28 * time.Hour,
		},
		Jitter: 0.2,
	}
}

// Validate names everything that is wrong with the schedule.
func (s Schedule) Validate() error {
	var errs []error
	for i, delay := range s.Delays {
		if delay <= 0 {
			errs = append(errs, fmt.Errorf("pause %d is not above zero", i+1))
		}
	}
	if !(s.Jitter >= 0 && s.Jitter <= 1) { // not a number is neither
		errs = append(errs, errors.New("jitter is not between 0 and 1"))
	}
	return errors.Join(errs...)
}

// Attempts is how many attempts there are in all.
func (s Schedule) Attempts() int { return len(s.Delays) + 1 }

// Next gives the pause after the given attempt, the first being 1, and false when that was the last. What the receiver asked for
// is kept, and up to a tenth of it added, so that it does not get all back at one moment. random gives numbers from 0 to
// below 1, as rand.Float64 of math/rand/v2 does.
func (s Schedule) Next(attempt int, retryAfter time.Duration, random func() float64) (time.Duration, bool) {
	if attempt < 1 || attempt > len(s.Delays) {
		return 0, false
	}
	chance := random()
	pause := s.Delays[attempt-1]
	pause -= time.Duration(float64(pause) * s.Jitter * chance)
	asked := min(retryAfter, MaxRetryAfter)
	if asked > 0 {
		asked += time.Duration(float64(asked) * chance / 10)
	}
	return max(pause, asked), true
}
