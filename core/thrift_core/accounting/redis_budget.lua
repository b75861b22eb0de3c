-- Counts budgets in Redis; each call of this script is one atomic step.
--
-- Redis numbers are doubles, exact to 2^53, which is only $9,007 of 10^-12 dollars. So an amount is a decimal text that
-- is taken apart into two numbers: units of 10^12 and the rest. Sums, differences and comparisons are then exact up to
-- 10^27.
--
-- For each counter and key there are two Redis keys, both under the hash tag of KEYS[1]:
--   a hash with <start>:used, <start>:reserved, <start>:unpriced and <start>:alert:<name> for each window's start, and
--   window, streaks for all of them; and a sorted set of leases <start>:<amount>:<id>, ordered by when they end.
-- KEYS[1] is the sorted set of all counters with keys, ordered by when they may be forgotten.

local LOW = 1e12
local FOREVER = '+inf'
local LENGTHS = { minute = 60, hour = 3600, day = 86400, month = 31 * 86400 }
local floor = math.floor

local function parts(text)
  if not text or text == '' then return 0, 0 end
  return tonumber(text:sub(1, -13)) or 0, tonumber(text:sub(-12))
end

local function joined(high, low)
  if high == 0 then return string.format('%.0f', low) end
  return string.format('%.0f%012.0f', high, low)
end

local function plus(a, b)
  local high_a, low_a = parts(a)
  local high_b, low_b = parts(b)
  local high, low = high_a + high_b, low_a + low_b
  if low >= LOW then high, low = high + 1, low - LOW end
  return joined(high, low)
end

local function is_more(a, b)
  local high_a, low_a = parts(a)
  local high_b, low_b = parts(b)
  return high_a > high_b or (high_a == high_b and low_a > low_b)
end

local function minus(a, b)
  if not is_more(a, b) then return '0' end
  local high_a, low_a = parts(a)
  local high_b, low_b = parts(b)
  local high, low = high_a - high_b, low_a - low_b
  if low < 0 then high, low = high - 1, low + LOW end
  return joined(high, low)
end

local function month_start(now)
  -- Howard Hinnant's days-from-civil algorithm, backwards: how many days of its month have gone by.
  local days = floor(now / 86400)
  local shifted = days + 719468
  local of_era = shifted % 146097
  local year = floor((of_era - floor(of_era / 1460) + floor(of_era / 36524) - floor(of_era / 146096)) / 365)
  local of_year = of_era - (365 * year + floor(year / 4) - floor(year / 100))
  local month = floor((5 * of_year + 2) / 153)
  return (days - (of_year - floor((153 * month + 2) / 5))) * 86400
end

local function window_start(window, now)
  if window == 'month' then return month_start(now) end
  local length = LENGTHS[window]
  return length and floor(now / length) * length or 0
end

local function window_end(window, start)
  local length = LENGTHS[window]
  if not length then return nil end
  return window == 'month' and month_start(start + length) or start + length
end

local function whole(number) return string.format('%.0f', number) end

local function end_leases(count, now)
  local ended = redis.call('ZRANGEBYSCORE', count.leases, '-inf', now)
  for _, lease in ipairs(ended) do
    local start, amount = lease:match('^(%d+):(%d+):')
    local field = start .. ':reserved'
    local reserved = redis.call('HGET', count.hash, field)
    if reserved then redis.call('HSET', count.hash, field, minus(reserved, amount)) end
  end
  if #ended > 0 then redis.call('ZREMRANGEBYSCORE', count.leases, '-inf', now) end
end

local function forget_old_windows(count, now)
  if not count.keep or not LENGTHS[count.window] then return end
  for _, field in ipairs(redis.call('HKEYS', count.hash)) do
    local start = field:match('^(%d+):')
    if start and start + count.keep <= now then redis.call('HDEL', count.hash, field) end
  end
end

local function keep(count, now)
  local forgotten_at = FOREVER
  if count.keep then
    -- A late settlement may concern a window that ended long ago: an expiry in the past would delete all windows.
    forgotten_at = math.max((LENGTHS[count.window] and count.start or now) + count.keep, now + 60)
    local left = redis.call('TTL', count.hash)
    if left < 0 or now + left < forgotten_at then redis.call('EXPIREAT', count.hash, whole(forgotten_at)) end
  end
  return forgotten_at
end

local function open(count, now, index)
  local is_new = redis.call('HSETNX', count.hash, count.start .. ':reserved', '0') == 1
  if is_new then
    forget_old_windows(count, now)
    redis.call('HSET', count.hash, 'window', count.window)
  end
  if is_new or (count.keep and not LENGTHS[count.window]) then
    local forgotten_at = keep(count, now)
    redis.call('ZREMRANGEBYSCORE', index, '-inf', now)
    redis.call('ZADD', index, 'GT', forgotten_at, count.name)
  end
end

local function longest(streaks)
  local most = 0
  for times in (streaks or ''):gmatch('=(%d+)') do most = math.max(most, tonumber(times)) end
  return most
end

local function lengthened(streaks, asked)
  -- `asked` is "signature=times ..." in order; what it does not name is over.
  if asked == '' then return streaks end
  local before = {}
  for name, times in (streaks or ''):gmatch('(%w+)=(%d+)') do before[name] = tonumber(times) end
  local after = {}
  for name, times in asked:gmatch('(%w+)=(%d+)') do
    after[#after + 1] = name .. '=' .. whole((before[name] or 0) + times)
  end
  return table.concat(after, ' ')
end

-- ARGV after the step's name and the time: id, lease_seconds; then for each claim
-- name, window, keep, amount, ceiling, max_repeats; KEYS after the index: for each claim hash, leases.
-- A client that lost the answer sends the same id again; what holds already is granted again.
local function reserve(now)
  local id, lease_seconds = ARGV[3], ARGV[4]
  local counts, is_held = {}, false
  for i = 1, (#KEYS - 1) / 2 do
    local at = 4 + (i - 1) * 6
    local count = {
      hash = KEYS[2 * i], leases = KEYS[2 * i + 1], name = ARGV[at + 1], window = ARGV[at + 2],
      keep = tonumber(ARGV[at + 3]), amount = ARGV[at + 4], ceiling = ARGV[at + 5], max_repeats = tonumber(ARGV[at + 6]),
    }
    count.start = whole(window_start(count.window, now))
    end_leases(count, now)
    local found = redis.call('HMGET', count.hash, count.start .. ':used', count.start .. ':reserved', 'streaks')
    count.used, count.reserved = found[1] or '0', found[2] or '0'
    count.lease = count.start .. ':' .. count.amount .. ':' .. id
    is_held = is_held or redis.call('ZSCORE', count.leases, count.lease)
    
    local repeats = longest(found[3])
    local is_repeated = count.max_repeats and repeats >= count.max_repeats
    local asked = plus(plus(count.used, count.reserved), count.amount)
    if not is_held and (is_repeated or (count.ceiling ~= '' and is_more(asked, count.ceiling))) then
      local reason = is_repeated and repeats or 0
      return { 'refused', whole(i - 1), count.used, count.reserved, count.start, tostring(now), whole(reason) }
    end
    counts[i] = count
  end
  local reply = { 'granted' }
  for i, count in ipairs(counts) do
    open(count, now, KEYS[1])
    if redis.call('ZADD', count.leases, now + lease_seconds, count.lease) == 1 then
      redis.call('HSET', count.hash, count.start .. ':reserved', plus(count.reserved, count.amount))
    end
    -- Leases must outlive the counts that they hold, or what they hold would never be given back.
    if count.keep then redis.call('EXPIREAT', count.leases, whole(now + lease_seconds + count.keep)) end
    reply[i + 1] = count.start
  end
  return reply
end

-- ARGV: for each settlement id, remember_seconds, number of bookings; then for each of its bookings
-- name, window, keep, start, reserved, actual, unpriced, tool calls; KEYS: for each settlement the mark that it was
-- done, then for each of its bookings hash, leases. Returns what each booking's count has used, '' if done before.
local function settle(now)
  local reply, key, at = {}, 2, 3
  while ARGV[at] do
    local id, remember_seconds, bookings = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
    local is_first = redis.call('SET', KEYS[key], '1', 'NX', 'EX', remember_seconds)
    key, at = key + 1, at + 3
    for _ = 1, bookings do
      local count = {
        hash = KEYS[key], leases = KEYS[key + 1], name = ARGV[at], window = ARGV[at + 1],
        keep = tonumber(ARGV[at + 2]), start = ARGV[at + 3],
      }
      local reserved, actual, unpriced, asked = ARGV[at + 4], ARGV[at + 5], ARGV[at + 6], ARGV[at + 7]
      local used = ''
      if is_first then
        open(count, now, KEYS[1])
        local found = redis.call('HMGET', count.hash, count.start .. ':used', count.start .. ':reserved', 'streaks')
        used = plus(found[1] or '0', actual)
        redis.call('HSET', count.hash, count.start .. ':used', used)
        if redis.call('ZREM', count.leases, count.start .. ':' .. reserved .. ':' .. id) == 1 then
          redis.call('HSET', count.hash, count.start .. ':reserved', minus(found[2] or '0', reserved))
        end
        if unpriced == '1' then redis.call('HINCRBY', count.hash, count.start .. ':unpriced', 1) end
        if asked ~= '' then redis.call('HSET', count.hash, 'streaks', lengthened(found[3], asked)) end
      end
      reply[#reply + 1] = used
      key, at = key + 2, at + 8
    end
  end
  return reply
end

-- ARGV: name, window, keep, start, alert; KEYS: hash, leases. Returns 1 the first time.
local function mark(now)
  local count = {
    hash = KEYS[2], leases = KEYS[3], name = ARGV[3], window = ARGV[4], keep = tonumber(ARGV[5]), start = ARGV[6],
  }
  open(count, now, KEYS[1])
  return redis.call('HSETNX', count.hash, count.start .. ':alert:' .. ARGV[7], '1')
end

-- KEYS: for each count hash, leases. Returns position, start, used, reserved, unpriced of all that have not ended.
local function levels(now)
  local reply = {}
  for i = 1, (#KEYS - 1) / 2 do
    local count = { hash = KEYS[2 * i], leases = KEYS[2 * i + 1] }
    end_leases(count, now)
    local window = redis.call('HGET', count.hash, 'window')
    if window then
      local start = whole(window_start(window, now))
      local found = redis.call(
        'HMGET', count.hash, start .. ':used', start .. ':reserved', start .. ':unpriced'
      )
      if found[2] then
        for _, value in ipairs({ whole(i - 1), start, found[1] or '0', found[2], found[3] or '0' }) do
          reply[#reply + 1] = value
        end
      end
    end
  end
  return reply
end

local now = tonumber(ARGV[2])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1000000
end
local steps = { reserve = reserve, settle = settle, mark = mark, levels = levels }
return steps[ARGV[1]](now)
