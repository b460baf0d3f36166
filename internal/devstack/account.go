package devstack

import (
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is the unprivileged user a root process runs the cluster as.
type account struct {
	name     string
	uid, gid uint32
}

// clusterAccount returns the user for the cluster, nil when this process is
// not root and runs it as itself. An existing cluster keeps its owner.
func clusterAccount(cluster string) (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	if info, err := os.Stat(cluster); err == nil {
		if owner := info.Sys().(*syscall.Stat_t); owner.Uid != 0 {
			name := strconv.Itoa(int(owner.Uid))
			if u, err := user.LookupId(name); err == nil {
				name = u.Username
			}
			return &account{name: name, uid: owner.Uid, gid: owner.Gid}, nil
		}
	}
	for _, name := range []string{"postgres", "_postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseInt(u.Uid, 10, 64)
		gid, err2 := strconv.ParseInt(u.Gid, 10, 64)
		if err1 != nil || err2 != nil || uid == 0 {
			continue
		}
		return &account{name: name, uid: uint32(uid), gid: uint32(gid)}, nil
	}
	return nil, userErrorf(ErrUnavailable, "PostgreSQL does not run as root and neither the user postgres nor nobody exists; run as another user or set DATABASE_URL")
}

// blockedAt returns the first folder on the way to path that the account may
// not pass, "" if it may pass all. path itself counts.
func (a *account) blockedAt(path string) string {
	if a == nil {
		return ""
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	var blocked string
	for dir := path; ; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err == nil && !a.mayPass(info) {
			blocked = dir
		}
		if dir == filepath.Dir(dir) {
			return blocked
		}
	}
}

func (a *account) mayPass(info fs.FileInfo) bool {
	owner := info.Sys().(*syscall.Stat_t)
	mode := info.Mode().Perm()
	switch {
	case owner.Uid == a.uid:
		return mode&0o100 != 0
	case owner.Gid == a.gid:
		return mode&0o010 != 0
	}
	return mode&0o001 != 0
}

// own gives a folder and all in it to the account.
func (a *account) own(dir string) error {
	if a == nil {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(a.uid), int(a.gid))
	})
}

// dataMode is the mode of a data folder: closed, but root's must let the
// cluster's user through.
func dataMode() os.FileMode {
	if os.Geteuid() == 0 {
		return 0o711
	}
	return 0o700
}

// placeCluster returns the real path of the cluster folder for a data folder.
// When the account cannot reach the data folder, a place outside it is chosen
// and linked, so that a checkout in root's own home works.
func placeCluster(dataDir string, a *account, ephemeral bool, log func(string)) (path string, outside bool, err error) {
	inside := filepath.Join(dataDir, "postgres")
	if target, err := os.Readlink(inside); err == nil {
		if !filepath.IsAbs(target) {
			target = filepath.Join(dataDir, target)
		}
		return target, true, nil
	}
	blocked := a.blockedAt(dataDir)
	if blocked == "" {
		return inside, false, nil
	}
	if _, err := os.Lstat(inside); err == nil {
		return "", false, userErrorf(nil, "the user %s cannot reach %s because %s is closed to it; run `chmod o+x %s` or choose another folder with --data-dir", a.name, inside, blocked, blocked)
	}
	home, err := outsideFolder(dataDir, a, ephemeral)
	if err != nil {
		return "", false, userErrorf(err, "the user %s cannot reach %s because %s is closed to it; run `chmod o+x %s` or choose another folder with --data-dir", a.name, dataDir, blocked, blocked)
	}
	target := filepath.Join(home, "postgres")
	if err := os.Symlink(target, inside); err != nil {
		return "", false, folderError(dataDir, err)
	}
	if !ephemeral {
		log(fmt.Sprintf("the user %s cannot pass %s, so the PostgreSQL cluster is in %s", a.name, blocked, target))
	}
	return target, true, nil
}

// outsideHome is where root keeps clusters that cannot be in the data folder.
var outsideHome = "/var/lib/wedsync"

func outsideFolder(dataDir string, a *account, ephemeral bool) (string, error) {
	if ephemeral {
		home, err := os.MkdirTemp("/tmp", ephemeralPrefix)
		if err != nil {
			return "", err
		}
		return home, os.Chmod(home, 0o711)
	}
	abs, err := filepath.Abs(dataDir)
	if err != nil {
		return "", err
	}
	sum := fnv.New64a()
	_, _ = sum.Write([]byte(abs))
	home := filepath.Join(outsideHome, fmt.Sprintf("dev-%016x", sum.Sum64()))
	if err := os.MkdirAll(home, 0o711); err != nil {
		return "", err
	}
	if blocked := a.blockedAt(home); blocked != "" {
		return "", fmt.Errorf("%s is closed to %s", blocked, a.name)
	}
	return home, nil
}
