//go:build unix

package app

import "syscall"

// openFiles returns how many descriptors the process may have. The runtime has raised the soft limit to the hard one by
// now.
func openFiles() (uint64, bool) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, false
	}
	return uint64(l.Cur), true
}
