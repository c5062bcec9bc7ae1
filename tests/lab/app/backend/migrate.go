package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

const (
	migrations = `CREATE TABLE IF NOT EXISTS migrations (id serial PRIMARY KEY, version text NOT NULL, at timestamptz NOT NULL DEFAULT now())`
	hangs      = 10 * time.Minute
)

// migrate is the command that runs once before a new version serves. LAB_MIGRATION makes it misbehave: `fail`, `hang`
// (for ten minutes) or `hang:SECONDS`; what hangs does its work afterwards.
func migrate(ctx context.Context, a *app, how string, out io.Writer) error {
	if how == "fail" {
		return fmt.Errorf("migration of version %s failed: LAB_MIGRATION says so", a.version)
	}
	wait, err := hanging(how)
	if err != nil {
		return err
	}
	if wait > 0 {
		fmt.Fprintf(out, "migration of version %s begins, and hangs for %s\n", a.version, wait)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return within(ctx, func() error {
		if _, err := a.db.ExecContext(ctx, migrations); err != nil {
			return err
		}
		if _, err := a.db.ExecContext(ctx, "INSERT INTO migrations (version) VALUES ($1)", a.version); err != nil {
			return err
		}
		_, err := fmt.Fprintf(out, "migrated to version %s\n", a.version)
		return err
	})
}

func hanging(how string) (time.Duration, error) {
	name, seconds, found := strings.Cut(how, ":")
	switch {
	case how == "":
		return 0, nil
	case name != "hang":
		return 0, fmt.Errorf("LAB_MIGRATION is %q, not fail, hang or hang:SECONDS", how)
	case !found:
		return hangs, nil
	}
	return inSeconds("LAB_MIGRATION", seconds)
}

// inSeconds reads a variable of the lab that holds a number of seconds; an empty one is none.
func inSeconds(name, value string) (time.Duration, error) {
	if value == "" {
		return 0, nil
	}
	seconds, err := strconv.ParseFloat(value, 64)
	if err != nil || !(seconds >= 0 && seconds <= 3600) {
		return 0, fmt.Errorf("%s is %q, not 0 to 3600 seconds", name, value)
	}
	return time.Duration(seconds * float64(time.Second)), nil
}
