package vault

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// maxKeyFile is above MaxKeys of the longest entries; a larger file is not a key file.
const maxKeyFile = 4096

// LoadFile reads a key file: one line in the form of [ParseKeys]. It refuses anything but a regular file, and a file
// that group or others may read or write, because then the keys are no secret any more.
func LoadFile(path string) (*Keyring, error) {
	ring, err := loadFile(path)
	if err != nil {
		return nil, fmt.Errorf("load key file %s: %w", path, err)
	}
	return ring, nil
}

func loadFile(path string) (*Keyring, error) {
	// Lstat before opening, so that a link or a pipe is refused rather than followed or waited for.
	info, err := os.Lstat(path)
	if err != nil {
		return nil, reason(err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("not a regular file (%s)", info.Mode().Type())
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, reason(err)
	}
	defer file.Close()
	opened, err := file.Stat()
	if err != nil {
		return nil, reason(err)
	}
	if !os.SameFile(info, opened) {
		return nil, errors.New("replaced while being opened")
	}
	// Windows reports mode bits it does not enforce.
	if perm := opened.Mode().Perm(); perm&0o077 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("mode %04o lets others at the keys; want 0600 (and treat these keys as known)", perm)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxKeyFile+1))
	if err != nil {
		return nil, reason(err)
	}
	if len(text) > maxKeyFile {
		return nil, fmt.Errorf("more than %d bytes", maxKeyFile)
	}
	return parse(string(text))
}

// LoadOrCreateFile is [LoadFile], making the file with one new key when there is none. It is meant for development:
// in production the keys come from the environment. The file appears whole or not at all, and of several processes
// starting at once all end up with the same keys. The folder must exist.
func LoadOrCreateFile(path string) (*Keyring, error) {
	ring, err := LoadFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return ring, err
	}
	temp, err := writeTemp(path, GenerateKey())
	if err != nil {
		return nil, fmt.Errorf("create key file %s: %w", path, err)
	}
	defer os.Remove(temp)
	// A link, unlike a rename, never replaces the file of a process that was quicker.
	if err := os.Link(temp, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("create key file %s: %w", path, reason(err))
	}
	if err := syncFolder(path); err != nil {
		return nil, fmt.Errorf("create key file %s: %w", path, err)
	}
	return LoadFile(path)
}

// RotateFile puts a new active key in front of the keys in the file and returns the new ring. The file is replaced in
// one step. Two rotations at once would lose one of the new keys, so the second is refused while PATH.lock exists.
func RotateFile(path string) (*Keyring, error) {
	ring, err := rotateFile(path)
	if err != nil {
		return nil, fmt.Errorf("rotate key file %s: %w", path, err)
	}
	return ring, nil
}

func rotateFile(path string) (*Keyring, error) {
	lock := path + ".lock"
	held, err := os.OpenFile(lock, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("another rotation holds %s; remove it if none is running", lock)
	}
	if err != nil {
		return nil, reason(err)
	}
	defer os.Remove(lock)
	defer held.Close()
	ring, err := loadFile(path)
	if err != nil {
		return nil, err
	}
	next, err := ring.WithNewKey()
	if err != nil {
		return nil, err
	}
	temp, err := writeTemp(path, next.Encode())
	if err != nil {
		return nil, err
	}
	if err := os.Rename(temp, path); err != nil {
		os.Remove(temp)
		return nil, reason(err)
	}
	if err := syncFolder(path); err != nil {
		return nil, err
	}
	return next, nil
}

// writeTemp writes one synced line beside path. CreateTemp makes files with mode 0600.
func writeTemp(path, line string) (name string, err error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return "", reason(err)
	}
	defer func() {
		if err != nil {
			os.Remove(file.Name())
		}
	}()
	_, err = io.WriteString(file, line+"\n")
	if err == nil {
		err = file.Sync()
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return "", reason(err)
	}
	return file.Name(), nil
}

// syncFolder makes a new name survive a power cut. Windows cannot sync folders and needs not.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return reason(err)
	}
	defer folder.Close()
	return reason(folder.Sync())
}

// reason drops the operation and the path, which the callers say already, and keeps what errors.Is looks for.
func reason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	var link *os.LinkError
	if errors.As(err, &link) {
		return link.Err
	}
	return err
}
