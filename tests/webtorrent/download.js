// Download one torrent and end: node download.js TORRENT FOLDER
const WebTorrent = require('webtorrent')

const [torrent, folder] = process.argv.slice(2)
const client = new WebTorrent({ dht: false, lsd: false, utp: false, natUpnp: false, natPmp: false })
const fail = error => {
  console.error(error.message ?? error)
  process.exit(1)
}
client.on('error', fail)
client.add(torrent, { path: folder }, added => {
  added.on('warning', warning => console.error(warning.message ?? warning))
  added.on('error', fail)
  added.on('done', () => process.exit(0))
})
