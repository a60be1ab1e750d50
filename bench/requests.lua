-- Requests for wrk: METHOD PATH BODY NOTES KEY TURN READS after `--`.
-- PATH may hold %d (an id, uniform over 1..NOTES), BODY may hold %d (a number that no other request of any turn has,
-- so that every edit changes something). KEY, if not empty, is the first half of an Idempotency-Key used once.
-- TURN is 1 for the first load of a server, 2 for its second: other ids and other numbers each time.
-- READS in a hundred, by chance, are GETs of the path.

local REQUESTS_MAX = 10000000  -- of one turn

local method, path, body, notes, key, reads
local sent

function init(arguments)
   method, path, body = arguments[1], arguments[2], arguments[3]
   notes, key = tonumber(arguments[4]), arguments[5]
   math.randomseed(tonumber(arguments[6]))
   sent = tonumber(arguments[6]) * REQUESTS_MAX
   reads = tonumber(arguments[7])
   if body ~= "" then wrk.headers["Content-Type"] = "application/json" end
end

function request()
   sent = sent + 1
   if key ~= "" then wrk.headers["Idempotency-Key"] = string.format("%s%d", key, sent) end
   if reads > 0 and math.random(100) <= reads then
      return wrk.format("GET", path:format(math.random(notes)))
   end
   local text = nil
   if body ~= "" then text = body:format(sent) end
   return wrk.format(method, path:format(math.random(notes)), nil, text)
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      '\n{"requests": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "refused": %d, "broken": %d}\n',
      summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
      errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
