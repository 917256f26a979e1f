"""The Lua scripts of limits in Redis. Each is one step that nothing comes between; the server's clock tells the time.

Keys, all below one prefix with a hash tag, so that they lie on one node of a cluster:

* `PREFIXp`: sorted set, process -> until when its lease lasts (milliseconds of the server's clock).
* `PREFIXr:PROCESS`: hash, number of a reservation -> what it holds (MessagePack), and `done`, its last report.
* `PREFIXn:NAME:KEY`: a counter. Of requests under way: a number. Of a window: a hash of its pieces (number of the piece
  -> amount), with `u`, how much is used in all, `p`, how much of that is not settled yet, and `o`, the oldest piece.

All of them expire when nobody writes to them any more.
"""

from __future__ import annotations

__all__ = ["REPORT", "RESERVE"]

_SHARED = """
local KEEP_MS = 93600000  -- 26 hours: longer than the longest window
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local processes, held, process = KEYS[1], KEYS[2], ARGV[1]

-- Lets go of the pieces of a window that are too old; gives what is used, and what of it is not settled.
local function forget(key, piece, span)
  local found = redis.call('HMGET', key, 'u', 'p', 'o')
  if not found[1] then return 0, 0, piece end
  local used, pending, oldest = tonumber(found[1]), tonumber(found[2] or 0), tonumber(found[3])
  if oldest > piece then  -- the clock has gone back: what was counted counts as of now
    redis.call('DEL', key)
    redis.call('HSET', key, piece, used, 'u', used, 'p', pending, 'o', piece)
    redis.call('PEXPIRE', key, KEEP_MS)
    return used, pending, piece
  end
  if oldest >= piece - span then return used, pending, oldest end
  local old = {}
  for number = oldest, math.min(piece - span - 1, oldest + span) do old[#old + 1] = number end
  for _, amount in ipairs(redis.call('HMGET', key, unpack(old))) do
    if amount then used = used - tonumber(amount) end
  end
  redis.call('HDEL', key, unpack(old))
  redis.call('HSET', key, 'u', used, 'o', piece - span)
  return used, pending, piece - span
end

local function add(key, amount, width, span, pending)
  local piece = math.floor(now / width)
  local _, _, oldest = forget(key, piece, span)
  redis.call('HINCRBY', key, piece, amount)
  redis.call('HINCRBY', key, 'u', amount)
  if pending > 0 then redis.call('HINCRBY', key, 'p', pending) end
  redis.call('HSETNX', key, 'o', oldest)
  redis.call('PEXPIRE', key, (span + 2) * width)
  return piece
end

-- A reservation ends: `taken` says how much it took of each part, nil that its process is gone.
local function finish(parts, taken)
  for i, part in ipairs(parts) do
    local kind, key, amount, piece, width, span = unpack(part)
    if kind == 'c' then
      if redis.call('DECRBY', key, amount) <= 0 then redis.call('DEL', key) end
    else
      local took = amount
      if taken then took = taken[i] elseif kind == 't' then took = 0 end
      if redis.call('EXISTS', key) == 1 then
        if redis.call('HINCRBY', key, 'p', -amount) < 0 then redis.call('HSET', key, 'p', 0) end
        if took < amount and redis.call('HEXISTS', key, piece) == 1 then
          redis.call('HINCRBY', key, piece, took - amount)
          redis.call('HINCRBY', key, 'u', took - amount)
        end
      end
      if took > amount then add(key, took - amount, width, span, 0) end
    end
  end
end

-- Gives back what a process holds whose lease has ended: some hundred reservations a time, so that no script is long.
local function sweep(prefix)
  local gone = redis.call('ZRANGEBYSCORE', processes, '-inf', now, 'LIMIT', 0, 1)[1]
  if not gone or gone == process then return end
  local theirs = prefix .. 'r:' .. gone
  local some = redis.call('HSCAN', theirs, 0, 'COUNT', 300)[2]
  for i = 1, #some, 2 do
    if some[i] ~= 'done' then finish(cmsgpack.unpack(some[i + 1]), nil) end
    redis.call('HDEL', theirs, some[i])
  end
  if redis.call('EXISTS', theirs) == 0 then redis.call('ZREM', processes, gone) end
end

local function renew(lease)
  redis.call('ZADD', processes, now + lease, process)
  redis.call('PEXPIRE', processes, KEEP_MS)
  return redis.call('ZCARD', processes)
end
"""

RESERVE = (
    _SHARED
    + """
-- ARGV: process, number, latest (ms), lease (ms), prefix; for each counter: kind, amount, most, width (ms), span.
-- Gives {1 there is room | 0 there is none | -1 too late, now, processes, which counter, at, sure}; at, sure in ms,
-- -1: not known; sure -2: never.
local number, latest, lease = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
if now > latest then return {-1, now, 0, 0, -1, -1} end
sweep(ARGV[5])
local count = renew(lease)
if redis.call('HEXISTS', held, number) == 1 then return {1, now, count, 0, -1, -1} end  -- it came twice

local function free_at(key, lacking, oldest, piece, width, span)
  if lacking <= 0 then return -1 end
  local pieces = {}
  for each = oldest, piece do pieces[#pieces + 1] = each end
  for i, amount in ipairs(redis.call('HMGET', key, unpack(pieces))) do
    lacking = lacking - tonumber(amount or 0)
    if lacking <= 0 then return (pieces[i] + span + 1) * width end
  end
  return -1
end

local worst
for i = 3, #KEYS do
  local from = 6 + (i - 3) * 5
  local key, kind, amount, most = KEYS[i], ARGV[from], tonumber(ARGV[from + 1]), tonumber(ARGV[from + 2])
  local at, sure
  if amount > most then
    at, sure = -1, -2
  elseif kind == 'c' then
    if tonumber(redis.call('GET', key) or 0) + amount > most then at, sure = -1, -1 end
  else
    local width, span = tonumber(ARGV[from + 3]), tonumber(ARGV[from + 4])
    local piece = math.floor(now / width)
    local used, pending, oldest = forget(key, piece, span)
    local lacking = used + amount - most
    if lacking > 0 then
      at = free_at(key, lacking, oldest, piece, width, span)
      sure = free_at(key, lacking - pending, oldest, piece, width, span)
    end
  end
  if at then
    if not worst or sure == -2 or (worst[2] ~= -2 and (sure > worst[2] or (sure == worst[2] and at > worst[1]))) then
      worst = {at, sure, i - 3}
    end
  end
end
if worst then return {0, now, count, worst[3], worst[1], worst[2]} end

local parts = {}
for i = 3, #KEYS do
  local from = 6 + (i - 3) * 5
  local key, kind, amount = KEYS[i], ARGV[from], tonumber(ARGV[from + 1])
  local piece, width, span = 0, tonumber(ARGV[from + 3]), tonumber(ARGV[from + 4])
  if kind == 'c' then
    redis.call('INCRBY', key, amount)
    redis.call('PEXPIRE', key, KEEP_MS)
  else
    piece = add(key, amount, width, span, amount)
  end
  parts[#parts + 1] = {kind, key, amount, piece, width, span}
end
redis.call('HSET', held, number, cmsgpack.pack(parts))
redis.call('PEXPIRE', held, KEEP_MS)
return {1, now, count, 0, -1, -1}
"""
)

REPORT = (
    _SHARED
    + """
-- ARGV: process, sequence number, lease (ms), prefix, then any of
--   'e', number, n, taken 1 .. taken n    a reservation has ended
--   'a', key, amount, width (ms), span    this was used besides
--   'q'                                   the process ends
-- A report that comes a second time, because its answer was lost, does nothing. Gives {now, processes, numbers of
-- reservations that were not known}.
local sequence, lease = tonumber(ARGV[2]), tonumber(ARGV[3])
sweep(ARGV[4])
local count = renew(lease)
local unknown = {}
if sequence > tonumber(redis.call('HGET', held, 'done') or 0) then
  local i = 5
  while i <= #ARGV do
    if ARGV[i] == 'e' then
      local number, n = ARGV[i + 1], tonumber(ARGV[i + 2])
      local parts = redis.call('HGET', held, number)
      if parts then
        local taken = {}
        for j = 1, n do taken[j] = tonumber(ARGV[i + 2 + j]) end
        finish(cmsgpack.unpack(parts), taken)
        redis.call('HDEL', held, number)
      else
        unknown[#unknown + 1] = number
      end
      i = i + 3 + n
    elseif ARGV[i] == 'a' then
      add(ARGV[i + 1], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4]), 0)
      i = i + 5
    else
      if redis.call('HLEN', held) <= 1 then  -- what is still held returns with the lease
        redis.call('DEL', held)
        redis.call('ZREM', processes, process)
        return {now, count, unknown}
      end
      i = i + 1
    end
  end
  redis.call('HSET', held, 'done', sequence)
end
redis.call('PEXPIRE', held, KEEP_MS)
return {now, count, unknown}
"""
)
