package ingest

import "syscall"

// DiesWithUs lets the kernel end a child when this process is killed.
func DiesWithUs() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
