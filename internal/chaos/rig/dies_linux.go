package rig

import "syscall"

// diesWithUs lets the kernel end a child when this process is killed.
func diesWithUs() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
