//go:build !linux

package rig

import "syscall"

// diesWithUs cannot be had here; a child survives when this process is killed.
func diesWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
