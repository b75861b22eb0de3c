-- Keeps one entry and holds its scope to its quota. All keys carry the scope's hash tag, so all are on one node.
-- KEYS: the entry; when the scope's entries expire; in what order they are evicted.
-- ARGV: id, now, expiry, never, score, quota (0: none), how many to evict at once, what entry keys begin with, fields...
local entry, expiries, ranks = KEYS[1], KEYS[2], KEYS[3]
local id, now, expires, never = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local score, quota, spare, prefix = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]

redis.call('DEL', entry)
local fields = {}
for place = 9, #ARGV do fields[#fields + 1] = ARGV[place] end
redis.call('HSET', entry, unpack(fields))
if expires ~= never then redis.call('PEXPIREAT', entry, expires) end
-- Without a quota nothing is evicted here, and what would be noted for it takes 280 bytes an entry.
if quota == 0 then return 1 end

local gone = redis.call('ZRANGEBYSCORE', expiries, '-inf', now, 'LIMIT', 0, 100)
for _, old in ipairs(gone) do
    redis.call('ZREM', expiries, old)
    redis.call('ZREM', ranks, old)
end

redis.call('ZADD', expiries, expires, id)
redis.call('ZADD', ranks, score, id)

local over = redis.call('ZCARD', expiries) - quota
if over > 0 then
    over = math.max(over, spare)
    local victims = redis.call('ZRANGE', ranks, 0, over)
    local evicted = 0
    for _, victim in ipairs(victims) do
        if victim ~= id and evicted < over then
            redis.call('DEL', prefix .. victim)
            redis.call('ZREM', expiries, victim)
            redis.call('ZREM', ranks, victim)
            evicted = evicted + 1
        end
    end
end
return 1
