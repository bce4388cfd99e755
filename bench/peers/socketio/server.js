// The backend most would write first: socket.io for the sockets, Redis GEO for the live map.
//
// A driver's `location` goes to Redis (GEOADD, and RPUSH to the track of his trip, in one write) and
// to the room of his trip or of his map cell. Nothing is authenticated or checked, and nothing is
// kept beyond Redis, so what it costs is a lower bound.
// Prints `ready PORT` when it listens.

import { createServer } from "node:http";
import { createClient } from "redis";
import { Server } from "socket.io";

// Cells of the map: about one square kilometre, as large as SmartLine's.
const STEP = 0.01;
const cell = (lat, lng) => `cell:${Math.floor(lat / STEP)}:${Math.floor(lng / STEP)}`;

// Without a timer per command: it would cost, and end the process on a busy machine.
const redis = createClient({
  socket: { path: process.env.REDIS_SOCKET },
  commandOptions: { timeout: undefined },
});
await redis.connect();

const http = createServer();
const io = new Server(http, { transports: ["websocket"], serveClient: false });

io.on("connection", (socket) => {
  socket.on("follow", (trip, done) => {
    socket.join(`trip:${trip}`);
    done();
  });
  socket.on("watch", (south, west, north, east, done) => {
    for (let lat = south; lat < north + STEP; lat += STEP) {
      for (let lng = west; lng < east + STEP; lng += STEP) socket.join(cell(lat, lng));
    }
    done();
  });
  socket.on("location", async (seen) => {
    // The client sends together what is asked for in one turn.
    const kept = [redis.geoAdd("drivers", { member: seen.id, longitude: seen.lng, latitude: seen.lat })];
    if (seen.trip) kept.push(redis.rPush(`track:${seen.trip}`, `${seen.lat},${seen.lng},${seen.at}`));
    await Promise.all(kept);
    const room = seen.trip ? `trip:${seen.trip}` : cell(seen.lat, seen.lng);
    io.to(room).emit("location", seen);
  });
});

http.listen(0, "127.0.0.1", () => console.log(`ready ${http.address().port}`));
