//go:build !linux

package ingest

import "syscall"

// DiesWithUs cannot be had here; a child survives when this process is killed.
func DiesWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
