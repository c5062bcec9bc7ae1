package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"
)

func TestAMigrationThatIsToFailNamesTheVersion(t *testing.T) {
	err := migrate(context.Background(), lab(t, ""), "fail", &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), "migration of version 1.2.3 failed") {
		t.Error(err)
	}
}

func TestAMigrationWithoutADatabaseFails(t *testing.T) {
	var out bytes.Buffer
	if err := migrate(context.Background(), lab(t, ""), "", &out); err == nil || strings.Contains(out.String(), "migrated") {
		t.Error(err, out.String())
	}
}

func TestAMigrationThatHangsSaysSoAndCanBeStopped(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	var out bytes.Buffer
	if err := migrate(ctx, lab(t, ""), "hang", &out); err != context.DeadlineExceeded || !strings.Contains(out.String(), "hangs") {
		t.Error(err, out.String())
	}
}

func TestHowLongAMigrationHangs(t *testing.T) {
	for how, want := range map[string]time.Duration{"": 0, "hang": 10 * time.Minute, "hang:1.5": 1500 * time.Millisecond} {
		if got, err := hanging(how); err != nil || got != want {
			t.Errorf("%q: %s %v", how, got, err)
		}
	}
	for _, how := range []string{"fall", "hang:x", "hang:-1", "hang:NaN"} {
		if got, err := hanging(how); err == nil {
			t.Errorf("%q: %s", how, got)
		}
	}
}
