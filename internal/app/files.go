package app

// otherFiles is what a server needs beside its live streams: webhooks under way, Postgres, Temporal, logs.
const otherFiles = 1500

// checkFiles tells the operator when the limit of open files is lower than what the settings may need. The runtime raises
// the soft limit by itself; the hard one is for the operator to raise.
func (c *Core) checkFiles() {
	have, known := openFiles()
	if want := uint64(c.Config.Streams) + otherFiles; known && have < want {
		c.Log.Warn("the limit of open files is low for the live streams allowed; raise it (ulimit -n, LimitNOFILE) or lower --streams",
			"limit", have, "wanted", want, "streams", c.Config.Streams)
	}
}
