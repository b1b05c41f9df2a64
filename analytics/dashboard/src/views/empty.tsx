/** What to do where there is nothing yet. */

export function NoCameras({ withoutSite }: { withoutSite: boolean }) {
  return (
    <section class="empty">
      <h2>No camera yet</h2>
      <p>
        After the first <code>countline up</code> the demo cameras appear here by themselves as soon as their clips are
        rendered. A camera of your own is added from a shell; its picture appears within seconds:
      </p>
      <pre>
        <code>
          {withoutSite && "countline sites add home --time-zone Europe/Berlin\n"}
          {"countline cameras add gate rtsp://user:password@camera/stream \\\n    --line door:0.1,0.6,0.9,0.6"}
        </code>
      </pre>
      <p>
        A line goes from one point to another, 0 to 1 from the top left corner of the picture. Who crosses it to the
        right-hand side of someone standing at the first point and looking to the second goes <em>in</em>.
      </p>
    </section>
  );
}

export function NoLines({ cameraId }: { cameraId: string }) {
  return (
    <div class="empty small">
      <p>This camera has no count line. Draw one:</p>
      <pre>
        <code>{`countline cameras set ${cameraId} --line door:0.1,0.6,0.9,0.6`}</code>
      </pre>
    </div>
  );
}
