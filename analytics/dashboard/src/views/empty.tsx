/** What to do where there is nothing yet. */

export function NoCameras() {
  return (
    <section class="empty">
      <h2>No camera yet</h2>
      <p>Add one from a shell; its picture appears here within seconds:</p>
      <pre>
        <code>
          {"countline cameras add gate --source rtsp://user:password@camera/stream \\\n    --line door:0.1,0.6,0.9,0.6"}
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
